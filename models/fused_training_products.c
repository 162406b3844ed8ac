/* Products of a training on the matrix units (AMX) of x86 processors, in all three directions:
 * rows times a matrix, its gradient by the rows, and by the matrix (rows transposed times rows).
 *
 * A float32 number is the sum of three bfloat16 numbers. All parts count, in six products as good as
 * single precision: with two parts a product is good to 4e-6 of its norm, and gradients, in which
 * digits cancel, only to 3e-5.
 */
#include <stdint.h>
#include <string.h>

#include "fused_units.h"

#define BLOCK 32
#define TILE 512            /* numbers of 16 bits in a tile */
#define MOST_INPUTS 1024    /* of a product of rows */
#define PARTS 3             /* of a number in one */
#define MOST_ROWS 64        /* of one call for the gradient of a matrix */
#define MOST_COLUMNS 256    /* done at once in it */

#ifdef MATRIX_UNITS
#include <immintrin.h>

#define MATRIX                                                                          \
    __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16," \
                          "avx2,fma,prefer-vector-width=512")))

MATRIX static inline __m512 upper(__m256i part) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(part), 16));
}

/* Rows as parts of falling size, (BLOCK, n_in) each; rows that are not there are zeros. */
MATRIX static void split_rows(const float *x, int64_t step, int64_t rows, int64_t n_in,
                              uint16_t *to) {
    for (int64_t row = 0; row < BLOCK; row++) {
        for (int64_t k = 0; k < n_in; k += 16) {
            __m512 rest = row < rows ? _mm512_loadu_ps(x + row * step + k) : _mm512_setzero_ps();
            for (int part = 0; part < PARTS; part++) {
                const __m256i top = (__m256i)_mm512_cvtneps_pbh(rest);
                _mm256_store_si256((__m256i *)(to + (part * BLOCK + row) * n_in + k), top);
                rest = _mm512_sub_ps(rest, upper(top));
            }
        }
    }
}

#define LOAD_SUMS(from, step)                     \
    _tile_loadd(0, (from), 4 * (step));           \
    _tile_loadd(1, (from) + 16, 4 * (step));      \
    _tile_loadd(2, (from) + 16 * (step), 4 * (step)); \
    _tile_loadd(3, (from) + 16 * (step) + 16, 4 * (step))
#define STORE_SUMS(to, step)                      \
    _tile_stored(0, (to), 4 * (step));            \
    _tile_stored(1, (to) + 16, 4 * (step));       \
    _tile_stored(2, (to) + 16 * (step), 4 * (step)); \
    _tile_stored(3, (to) + 16 * (step) + 16, 4 * (step))

MATRIX static void begin_units(void) { _tile_loadconfig(&EIGHT_TILES); }

MATRIX static void end_units(void) { _tile_release(); }

/* Of two arrays of n_next numbers, what one of so many steps brings into the second cache: memory
 * works while the units do. */
MATRIX static inline void fetch(const float *next, const float *other, int64_t n_next,
                                int64_t step, int64_t steps) {
    const int64_t begin = n_next * step / steps, end = n_next * (step + 1) / steps;
    for (int64_t i = begin / 16 * 16; i < end; i += 16) {
        if (next) _mm_prefetch((const char *)(next + i), _MM_HINT_T1);
        if (other) _mm_prefetch((const char *)(other + i), _MM_HINT_T1);
    }
}

static void copy_rows(const float *from, int64_t from_step, int64_t rows, float *to,
                      int64_t to_step) {
    for (int64_t row = 0; row < rows; row++)
        memcpy(to + row * to_step, from + row * from_step, BLOCK * sizeof(float));
}

MATRIX static void multiply_rows(const float *x, int64_t x_step, int64_t rows, int64_t n_in,
                                 const uint16_t *matrix, int64_t n_out, const float *bias,
                                 const float *begin, float *out, int64_t out_step,
                          const float *next, const float *other, int64_t n_next) {
    static const float none[BLOCK];
    uint16_t high[PARTS * BLOCK * MOST_INPUTS] __attribute__((aligned(64)));
    const uint16_t *middle = high + BLOCK * n_in, *low = middle + BLOCK * n_in;
    float edge[BLOCK * BLOCK] __attribute__((aligned(64)));
    const int64_t steps = (rows + BLOCK - 1) / BLOCK * (n_out / BLOCK);
    int64_t step_done = 0;
    for (int64_t first = 0; first < rows; first += BLOCK) {
        const int64_t left = rows - first < BLOCK ? rows - first : BLOCK;
        split_rows(x + first * x_step, x_step, left, n_in, high);
        for (int64_t column = 0; column < n_out; column += BLOCK) {
            const uint16_t *top = matrix + PARTS * column * n_in;
            const uint16_t *centre = top + BLOCK * n_in, *bottom = centre + BLOCK * n_in;
            fetch(next, other, n_next, step_done++, steps);
            float *to = left == BLOCK ? out + first * out_step + column : edge;
            const int64_t step = left == BLOCK ? out_step : BLOCK;
            if (begin) {
                const float *from = begin + first * out_step + column;
                if (left < BLOCK) copy_rows(from, out_step, left, edge, BLOCK), from = edge;
                LOAD_SUMS(from, step);
            } else {
                const float *from = bias ? bias + column : none;
                _tile_loadd(0, from, 0);
                _tile_loadd(1, from + 16, 0);
                _tile_loadd(2, from, 0);
                _tile_loadd(3, from + 16, 0);
            }
            for (int64_t k = 0; k < n_in; k += 32) {
                LOAD_COLUMNS(top, k);
                LOAD_ROWS(low, k);
                MULTIPLY();
                LOAD_ROWS(middle, k);
                MULTIPLY();
                LOAD_ROWS(high, k);
                MULTIPLY();
                LOAD_COLUMNS(centre, k);
                MULTIPLY();
                LOAD_ROWS(middle, k);
                MULTIPLY();
                LOAD_ROWS(high, k);
                LOAD_COLUMNS(bottom, k);
                MULTIPLY();
            }
            STORE_SUMS(to, step);
            if (left < BLOCK) copy_rows(edge, BLOCK, left, out + first * out_step + column, out_step);
        }
    }
}

/* 16 pairs of rows by 16 columns: each pair's two numbers of 16 bits side by side. */
MATRIX static inline void pair_up(const float *x, int64_t step, int64_t rows,
                                  __m512i of_parts[PARTS][16]) {
    for (int64_t pair = 0; pair < 16; pair++) {
        const __m512 zero = _mm512_setzero_ps();
        __m512 a = 2 * pair < rows ? _mm512_loadu_ps(x + 2 * pair * step) : zero;
        __m512 b = 2 * pair + 1 < rows ? _mm512_loadu_ps(x + (2 * pair + 1) * step) : zero;
        for (int part = 0; part < PARTS; part++) {
            const __m256i top_a = (__m256i)_mm512_cvtneps_pbh(a);
            const __m256i top_b = (__m256i)_mm512_cvtneps_pbh(b);
            of_parts[part][pair] =
                _mm512_or_si512(_mm512_cvtepu16_epi32(top_a),
                                _mm512_slli_epi32(_mm512_cvtepu16_epi32(top_b), 16));
            a = _mm512_sub_ps(a, upper(top_a));
            b = _mm512_sub_ps(b, upper(top_b));
        }
    }
}

/* A square of 16 by 16 numbers of 32 bits, mirrored. */
MATRIX static inline void mirror(const __m512i *from, uint16_t *to) {
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(from[i], from[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(from[i], from[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
        a[i + 8] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        _mm512_store_si512(to + 32 * i, _mm512_shuffle_i32x4(a[i], a[i + 8], 0x88));
        _mm512_store_si512(to + 32 * (i + 8), _mm512_shuffle_i32x4(a[i], a[i + 8], 0xdd));
    }
}

/* Parts of falling size, each (rows, width) in tiles. */
MATRIX static void tiles_of(const float *x, int64_t step, int64_t rows, int64_t width, int mirrored,
                            uint16_t to[PARTS][MOST_ROWS * MOST_COLUMNS]) {
    __m512i of_parts[PARTS][16];
    for (int64_t first = 0; first < rows; first += BLOCK) {
        for (int64_t column = 0; column < width; column += 16) {
            const int64_t tile = (first / BLOCK * (width / 16) + column / 16) * TILE;
            pair_up(x + first * step + column, step, rows - first, of_parts);
            for (int part = 0; part < PARTS; part++) {
                if (mirrored)
                    mirror(of_parts[part], to[part] + tile);
                else
                    for (int i = 0; i < 16; i++)
                        _mm512_store_si512(to[part] + tile + 32 * i, of_parts[part][i]);
            }
        }
    }
}

#define LOAD_LEFT(part)                 \
    _tile_loadd(4, (part) + one, 64); \
    _tile_loadd(5, (part) + one + TILE, 64)
#define LOAD_RIGHT(part)                  \
    _tile_loadd(6, (part) + other, 64); \
    _tile_loadd(7, (part) + other + TILE, 64)

/* Of at most MOST_COLUMNS columns on either side. */
MATRIX static void multiply_columns(const float *left, int64_t left_step, const float *right,
                                    int64_t right_step, int64_t rows, int64_t n_left,
                                    int64_t n_right, float *sum, int64_t sum_step,
                                    const float *next, const float *other, int64_t n_next) {
    const int64_t steps = n_left / BLOCK * (n_right / BLOCK);
    int64_t step_done = 0;
    uint16_t of_left[PARTS][MOST_ROWS * MOST_COLUMNS] __attribute__((aligned(64)));
    uint16_t of_right[PARTS][MOST_ROWS * MOST_COLUMNS] __attribute__((aligned(64)));
    tiles_of(left, left_step, rows, n_left, 1, of_left);
    tiles_of(right, right_step, rows, n_right, 0, of_right);
    for (int64_t i = 0; i < n_left; i += BLOCK) {
        for (int64_t j = 0; j < n_right; j += BLOCK) {
            float *to = sum + i * sum_step + j;
            fetch(next, other, n_next, step_done++, steps);
            LOAD_SUMS(to, sum_step);
            for (int64_t first = 0; first < rows; first += BLOCK) {
                const int64_t one = (first / BLOCK * (n_left / 16) + i / 16) * TILE;
                const int64_t other = (first / BLOCK * (n_right / 16) + j / 16) * TILE;
                LOAD_RIGHT(of_right[0]);
                LOAD_LEFT(of_left[2]);
                MULTIPLY();
                LOAD_LEFT(of_left[1]);
                MULTIPLY();
                LOAD_LEFT(of_left[0]);
                MULTIPLY();
                LOAD_RIGHT(of_right[1]);
                MULTIPLY();
                LOAD_LEFT(of_left[1]);
                MULTIPLY();
                LOAD_LEFT(of_left[0]);
                LOAD_RIGHT(of_right[2]);
                MULTIPLY();
            }
            STORE_SUMS(to, sum_step);
        }
    }
}

/* For every 32 columns part after part, of each for every 32 inputs two tiles of 16 columns, pairs
 * of inputs side by side. */
MATRIX static void arrange(const float *matrix, int64_t row_step, int64_t column_step,
                           int64_t n_in, int64_t n_out, uint16_t *to) {
    for (int64_t column = 0; column < n_out; column++) {
        for (int64_t k = 0; k < n_in; k++) {
            const int64_t c = column % BLOCK, place = 32 * (k / 32 * 32) + c / 16 * TILE +
                                                      k % 32 / 2 * 32 + c % 16 * 2 + k % 2;
            uint16_t *columns = to + PARTS * (column - c) * n_in;
            __m128 rest = _mm_set_ss(matrix[k * row_step + column * column_step]);
            for (int part = 0; part < PARTS; part++) {
                const __m128i top = (__m128i)_mm_cvtneps_pbh(rest);
                columns[part * BLOCK * n_in + place] = (uint16_t)_mm_extract_epi16(top, 0);
                const __m128i wide = _mm_slli_epi32(_mm_cvtepu16_epi32(top), 16);
                rest = _mm_sub_ss(rest, _mm_castsi128_ps(wide));
            }
        }
    }
}

void ionscreen_units_begin(void) { begin_units(); }
void ionscreen_units_end(void) { end_units(); }

void ionscreen_units_arrange(const float *matrix, int64_t row_step, int64_t column_step,
                             int64_t n_in, int64_t n_out, uint16_t *to) {
    arrange(matrix, row_step, column_step, n_in, n_out, to);
}

void ionscreen_units_rows(const float *x, int64_t x_step, int64_t rows, int64_t n_in,
                          const uint16_t *matrix, int64_t n_out, const float *bias,
                          const float *begin, float *out, int64_t out_step,
                          const float *next, const float *other, int64_t n_next) {
    multiply_rows(x, x_step, rows, n_in, matrix, n_out, bias, begin, out, out_step, next, other,
                  n_next);
}

void ionscreen_units_columns(const float *left, int64_t left_step, const float *right,
                             int64_t right_step, int64_t rows, int64_t n_left, int64_t n_right,
                             float *sum, const float *next, const float *other,
                             int64_t n_next) {
    for (int64_t row = 0; row < rows; row += MOST_ROWS)
        for (int64_t i = 0; i < n_left; i += MOST_COLUMNS)
            for (int64_t j = 0; j < n_right; j += MOST_COLUMNS)
                multiply_columns(left + row * left_step + i, left_step,
                                 right + row * right_step + j, right_step,
                                 rows - row < MOST_ROWS ? rows - row : MOST_ROWS,
                                 n_left - i < MOST_COLUMNS ? n_left - i : MOST_COLUMNS,
                                 n_right - j < MOST_COLUMNS ? n_right - j : MOST_COLUMNS,
                                 sum + i * n_right + j, n_right, next, other, n_next);
}
#else
void ionscreen_units_begin(void) {}
void ionscreen_units_end(void) {}
void ionscreen_units_arrange(const float *matrix, int64_t row_step, int64_t column_step,
                             int64_t n_in, int64_t n_out, uint16_t *to) {
    (void)matrix, (void)row_step, (void)column_step, (void)n_in, (void)n_out, (void)to;
}
void ionscreen_units_rows(const float *x, int64_t x_step, int64_t rows, int64_t n_in,
                          const uint16_t *matrix, int64_t n_out, const float *bias,
                          const float *begin, float *out, int64_t out_step,
                          const float *next, const float *other, int64_t n_next) {
    (void)x, (void)x_step, (void)rows, (void)n_in, (void)matrix, (void)n_out, (void)bias;
    (void)begin, (void)out, (void)out_step, (void)next, (void)other, (void)n_next;
}
void ionscreen_units_columns(const float *left, int64_t left_step, const float *right,
                             int64_t right_step, int64_t rows, int64_t n_left, int64_t n_right,
                             float *sum, const float *next, const float *other,
                             int64_t n_next) {
    (void)left, (void)left_step, (void)right, (void)right_step, (void)rows, (void)n_left;
    (void)n_right, (void)sum, (void)next, (void)other, (void)n_next;
}
#endif
