/* Semi-orthogonal matrices of few entries, as products of reflections in float64: those of reflections.py, one after the
   other, each sum from its first term to its last. Every operation is one of IEEE, so that the bits are the same
   everywhere. Compiled once for each instruction set, by _tiles.h. */

/* Put the reflection that takes `vector` to its first axis in front of the product of those after it, which fills the
   rows and columns behind the k-th. */
TARGET static void NAME(put_in_front)(double *restrict vector, int64_t k, int64_t rows, int64_t columns,
                                      double *restrict product) {
    const int64_t n = rows - k, others = columns - k - 1;
    double tail = 0.0, sums[SMALL_SIDE];
    for (int64_t i = 1; i < n; i++) tail += vector[i] * vector[i];
    const double length = sqrt(vector[0] * vector[0] + tail), sign = vector[0] < 0.0 ? 1.0 : -1.0;
    vector[0] -= sign * (length > SHORTEST ? length : SHORTEST);
    const double half = (tail + vector[0] * vector[0]) / 2.0, first = sign * vector[0] / half;
    double *row = product + k * columns + k + 1;
    for (int64_t j = 0; j < others; j++) sums[j] = 0.0;
    for (int64_t i = 1; i < n; i++)
        for (int64_t j = 0; j < others; j++) sums[j] += vector[i] * row[i * columns + j];
    for (int64_t j = 0; j < others; j++) {
        sums[j] /= half;
        row[j] = -(vector[0] * sums[j]);
    }
    row[-1] = sign - vector[0] * first;
    for (int64_t i = 1; i < n; i++) {
        row[i * columns - 1] = -(vector[i] * first);
        for (int64_t j = 0; j < others; j++) row[i * columns + j] -= vector[i] * sums[j];
    }
}

/* `count` matrices of `rows` >= `columns`, from the normals of their vectors, the longest first; transposed where they
   are to be wide. The room is for a product and a vector. */
TARGET static void NAME(products)(const float *normals, float *out, int64_t count, int64_t rows, int64_t columns,
                                  int is_wide, double *room) {
    double *product = room, *vector = room + SMALL;
    for (; count > 0; count--, out += rows * columns) {
        normals += columns * (2 * rows - columns + 1) / 2;
        const float *from = normals;
        for (int64_t k = columns - 1; k >= 0; k--) {
            from -= rows - k;
            for (int64_t i = 0; i < rows - k; i++) vector[i] = (double)from[i];
            NAME(put_in_front)(vector, k, rows, columns, product);
        }
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                out[is_wide ? j * rows + i : i * columns + j] = (float)product[i * columns + j];
    }
}
