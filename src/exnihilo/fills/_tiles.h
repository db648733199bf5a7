/* The laws on whole tiles, for one instruction set: included once for each, with NAME(x), TARGET and GROUP defined.

   A tile is 64 elements: element r is word r / 32 of block 32 * tile + r % 32. GROUP blocks are encrypted together, one
   round after the other: a block alone waits for each of its 60 dependent operations, and as many as fill the registers
   do not. Every loop has independent lanes and nothing but integer and correctly rounded float32 operations in one
   written order, so that whatever a compiler makes of it, the bits are those of docs/fills.md. -ffp-contract=off must
   hold. */

#define ROTATE(x, r) (((x) << (r)) | ((x) >> (32 - (r))))
#define EACH_BLOCK for (int i = 0; i < GROUP; i++)
#define ROUND(r)                                                                                                       \
    EACH_BLOCK {                                                                                                       \
        x[i] += y[i];                                                                                                  \
        y[i] = ROTATE(y[i], r) ^ x[i];                                                                                 \
    }
#define INJECT(first, second)                                                                                          \
    EACH_BLOCK {                                                                                                       \
        x[i] += (first);                                                                                               \
        y[i] += (second);                                                                                              \
    }

/* Threefry2x32-20: the two words of GROUP blocks. */
TARGET INLINE static void NAME(encrypt)(const uint32_t *key, uint64_t first_block, uint32_t *restrict x,
                                        uint32_t *restrict y) {
    const uint32_t key0 = key[0], key1 = key[1], key2 = key[0] ^ key[1] ^ 0x1BD11BDAu;
    const uint32_t low = (uint32_t)first_block + key0, high = (uint32_t)(first_block >> 32) + key1;
    EACH_BLOCK {
        x[i] = low + (uint32_t)i; /* a group begins at a multiple of its size, so that the low word does not overflow */
        y[i] = high;
    }
    ROUND(13) ROUND(15) ROUND(26) ROUND(6) INJECT(key1, key2 + 1)
    ROUND(17) ROUND(29) ROUND(16) ROUND(24) INJECT(key2, key0 + 2)
    ROUND(13) ROUND(15) ROUND(26) ROUND(6) INJECT(key0, key1 + 3)
    ROUND(17) ROUND(29) ROUND(16) ROUND(24) INJECT(key1, key2 + 4)
    ROUND(13) ROUND(15) ROUND(26) ROUND(6) INJECT(key2, key0 + 5)
}

/* For each block of `groups` groups: x and y are its words, out[lane] and out[lane + PAIRS] its elements. */
#define BEGIN_BLOCKS                                                                                                   \
    for (int64_t group = 0; group < groups; group++) {                                                                 \
        uint32_t first[GROUP], second[GROUP];                                                                          \
        NAME(encrypt)(key, first_block + (uint64_t)group * GROUP, first, second);                                      \
        for (int tile = 0; tile < GROUP; tile += PAIRS, out += TILE)                                                   \
            for (int lane = 0; lane < PAIRS; lane++) {                                                                 \
                const uint32_t x = first[tile + lane], y = second[tile + lane];

#define END_BLOCKS                                                                                                     \
    }                                                                                                                  \
    }

#define LAW(name)                                                                                                      \
    TARGET static void NAME(name)(const uint32_t *key, uint64_t first_block, int64_t groups,                    \
                                  const float *parameters, float *restrict out)

TARGET INLINE static float NAME(as_float)(uint32_t bits) {
    union { uint32_t bits; float value; } u = {bits};
    return u.value;
}

TARGET INLINE static uint32_t NAME(as_bits)(float value) {
    union { float value; uint32_t bits; } u = {value};
    return u.bits;
}

/* log(v * 2**shift) of a positive normal number; the exponent is taken so that the rest lies in [sqrt(1/2), sqrt(2)). */
TARGET INLINE static float NAME(logarithm)(float v, int32_t shift) {
    const uint32_t offset = NAME(as_bits)(v) - 0x3F3504F3u;
    const int32_t exponent = ((int32_t)offset >> 23) + shift;
    const float f = NAME(as_float)((offset & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    const float square = f * f;
    const float rest = (f - 0.5f * square) + (f * square) * LOG_POLYNOMIAL(f);
    return rest + (float)exponent * LN2;
}

LAW(words) {
    (void)parameters;
    BEGIN_BLOCKS
    out[lane] = NAME(as_float)(x);
    out[lane + PAIRS] = NAME(as_float)(y);
    END_BLOCKS
}

/* The step is chosen so that the largest value, too, lies below the upper bound. */
LAW(uniform) {
    const float from = parameters[0], step = parameters[1];
    BEGIN_BLOCKS
    out[lane] = from + step * (float)(int32_t)(x >> 8);
    out[lane + PAIRS] = from + step * (float)(int32_t)(y >> 8);
    END_BLOCKS
}

LAW(normal) {
    const float mean = parameters[0], std = parameters[1];
    BEGIN_BLOCKS
    /* (x / 2 + 1/2) / 2**31 lies in (0, 1]: its logarithm keeps all 31 bits in the tail. */
    const float radius = sqrtf(-2.0f * NAME(logarithm)((float)(int32_t)(x >> 1) + 0.5f, -31));
    const uint32_t turned = y + 0x20000000u; /* the upper two bits count quarter turns, to the nearest */
    const float f = (float)(int32_t)(y - (turned & 0xC0000000u)) * ANGLE_STEP;
    const float square = f * f;
    const float sine = f + (f * square) * SIN_POLYNOMIAL(square);
    const float cosine = (1.0f - 0.5f * square) + (square * square) * COS_POLYNOMIAL(square);
    const uint32_t swapped = (uint32_t)((int32_t)(turned << 1) >> 31);
    const uint32_t s = NAME(as_bits)(sine), c = NAME(as_bits)(cosine), both = (s ^ c) & swapped;
    const float across = NAME(as_float)((c ^ both) ^ ((turned + 0x40000000u) & 0x80000000u));
    const float up = NAME(as_float)((s ^ both) ^ (turned & 0x80000000u));
    out[lane] = mean + std * (radius * across);
    out[lane + PAIRS] = mean + std * (radius * up);
    END_BLOCKS
}

TARGET INLINE static float NAME(clamped)(float value, float lowest, float highest) {
    value = value > lowest ? value : lowest;
    return value < highest ? value : highest;
}

/* The quantile of mass (1 + x) / 2, over the interval that holds the bounds. */
TARGET INLINE static float NAME(central_of)(uint32_t word, const float *p) {
    const float x = p[4] + p[5] * ((float)(int32_t)word * 0x1p-31f);
    const float w = -NAME(logarithm)((1.0f - x) * (1.0f + x), 0);
    return NAME(clamped)(p[0] + p[1] * (x * CENTER_POLYNOMIAL(w - 3.0f)), p[2], p[3]);
}

LAW(truncated_center) {
    float p[6];
    for (int i = 0; i < 6; i++) p[i] = parameters[i];
    BEGIN_BLOCKS
    out[lane] = NAME(central_of)(x, p);
    out[lane + PAIRS] = NAME(central_of)(y, p);
    END_BLOCKS
}

TARGET INLINE static float NAME(either)(uint32_t mask, float first, float second) {
    return NAME(as_float)((NAME(as_bits)(first) & mask) | (NAME(as_bits)(second) & ~mask));
}

/* Each side by its own tail probability q = p[10] * g, so that the digits of a small tail are never lost. */
TARGET INLINE static float NAME(tailed_of)(uint32_t word, uint32_t split, const float *p) {
    const uint32_t lower = (uint32_t)-(int32_t)(word < split); /* all bits or none: a mask selects without a branch */
    const float v = (float)(int32_t)((word ^ ~lower) >> 1) + 0.5f;
    const float g = NAME(either)(lower, p[4], p[6]) + v * NAME(either)(lower, p[5], p[7]);
    const float q = p[10] * g;
    const float w = p[11] - NAME(logarithm)(g * (1.0f - q), 0);
    const float near = (1.0f - 2.0f * q) * CENTER_POLYNOMIAL(w - 3.0f);
    const float s = sqrtf(w > FAR ? w : FAR);
    const float z = w < FAR ? near : s * TAIL_POLYNOMIAL(1.0f / s);
    return NAME(clamped)(p[0] + NAME(either)(lower, p[8], p[9]) * z, p[2], p[3]);
}

LAW(truncated_tails) {
    float p[12];
    for (int i = 0; i < 12; i++) p[i] = parameters[i];
    const uint32_t split = (uint32_t)parameters[12];
    BEGIN_BLOCKS
    out[lane] = NAME(tailed_of)(x, split, p);
    out[lane + PAIRS] = NAME(tailed_of)(y, split, p);
    END_BLOCKS
}

LAW(rademacher) {
    const uint32_t size = NAME(as_bits)(parameters[0]);
    BEGIN_BLOCKS
    out[lane] = NAME(as_float)(size ^ (x & 0x80000000u));
    out[lane + PAIRS] = NAME(as_float)(size ^ (y & 0x80000000u));
    END_BLOCKS
}

/* Rounded to nearest, ties to even; no law gives a NaN. */
TARGET static void NAME(to_bfloat16)(const float *restrict values, int64_t n, void *restrict memory) {
    uint16_t *restrict out = memory;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = NAME(as_bits)(values[i]);
        out[i] = (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
    }
}

TARGET static void NAME(to_float16)(const float *restrict values, int64_t n, void *restrict memory) {
    uint16_t *restrict out = memory;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = NAME(as_bits)(values[i]), sign = bits & 0x80000000u, size = bits ^ sign;
        /* Below 2**-14 an addition rounds to the grid of the subnormal numbers; above, the mantissa is rounded. */
        const uint32_t small = NAME(as_bits)(NAME(as_float)(size) + 0.5f) - 0x3F000000u;
        const uint32_t normal = (size - 0x38000000u + 0xFFFu + ((size >> 13) & 1u)) >> 13;
        const uint32_t finite = size < 0x38800000u ? small : normal;
        out[i] = (uint16_t)((size < 0x477FF000u ? finite : 0x7C00u) | (sign >> 16));
    }
}

TARGET static void NAME(to_float64)(const float *restrict values, int64_t n, void *restrict memory) {
    double *restrict out = memory;
    for (int64_t i = 0; i < n; i++) out[i] = (double)values[i];
}

#include "_reflections.h"

static const Kernels NAME(kernels) = {
    GROUP / PAIRS,
    {NAME(words), NAME(uniform), NAME(normal), NAME(truncated_center), NAME(truncated_tails), NAME(rademacher)},
    {NULL, NAME(to_float64), NAME(to_bfloat16), NAME(to_float16)},
    NAME(products),
};

#undef ROTATE
#undef EACH_BLOCK
#undef ROUND
#undef INJECT
#undef BEGIN_BLOCKS
#undef END_BLOCKS
#undef LAW
#undef NAME
#undef TARGET
#undef GROUP
