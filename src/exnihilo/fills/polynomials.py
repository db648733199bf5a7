"""The coefficients of the laws' own functions, lowest power first; every backend takes them from here.

Least-squares fits on Chebyshev nodes, rounded to float32. Largest relative errors in float32: logarithm 1.4e-7, sine
7e-8, cosine 1.0e-7, the quantile 3e-7 (tests/fills/test_functions.py measures them).
"""


def _single(*texts: str) -> tuple[float, ...]:
    """Hexadecimal numbers, each of which float32 holds exactly."""
    return tuple(float.fromhex(text) for text in texts)


(LN2,) = _single("0x1.62e430p-1")
# One step of a 32-bit angle, in radians.
ANGLE_STEP = _single("0x1.921fb6p+1")[0] * 2.0**-31

# log(1 + f) = f - f**2 / 2 + f**3 * P(f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]
LOG = _single(
    "0x1.555552p-2",
    "-0x1.0000c8p-2",
    "0x1.99a14cp-3",
    "-0x1.54d54ep-3",
    "0x1.22dc4cp-3",
    "-0x1.09abe4p-3",
    "0x1.04591ap-3",
    "-0x1.4bd6fep-4",
)
# sin(f) = f + f**3 * P(f**2) and cos(f) = 1 - f**2 / 2 + f**4 * P(f**2) for |f| <= pi / 4
SIN = _single("-0x1.555552p-3", "0x1.110c2ap-7", "-0x1.9aca00p-13")
COS = _single("0x1.555554p-5", "-0x1.6c12c4p-10", "0x1.9bd388p-16")
# the z of P(|Z| < z) = |x| is x * P(w - 3), w = -log(1 - x**2), for w <= 6.2
CENTER = _single(
    "0x1.25e47cp+1",
    "0x1.5deb1ap-2",
    "-0x1.09efd2p-7",
    "-0x1.361288p-10",
    "0x1.21fb58p-12",
    "-0x1.2b814ep-16",
    "-0x1.6880dcp-19",
    "0x1.4a2298p-21",
    "-0x1.55a416p-28",
    "-0x1.cee040p-28",
)
# Bounds as far as this are within CENTER: w is 6.07 there.
CENTER_REACH = 3.25
# the same z is s * P(1 / s), s = sqrt(w), from w = FAR to the 37 sigma that float64 can tell from nothing
TAIL = _single(
    "0x1.6a1552p+0",
    "-0x1.93578cp-6",
    "-0x1.067db4p+1",
    "0x1.5b569cp+3",
    "-0x1.9139fap+5",
    "0x1.8104bep+7",
    "-0x1.0572e6p+9",
    "0x1.cc3948p+9",
    "-0x1.d406e4p+9",
    "0x1.9f316cp+8",
)
FAR = 6.0
