/* Products of float32 rows with a matrix on the matrix units (AMX) of x86 processors.
 *
 * A float32 number is the sum of two bfloat16 numbers to 2^-17. With three products of the parts
 * (all but low times low) the result is as good as single precision for sums of a few hundred
 * terms, at three times the work of bfloat16 and still far less time than float32 takes.
 */
#include <stdint.h>
#include <string.h>

#include "fused_units.h"

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

#define BLOCK 32           /* rows and columns of a step: two by two tiles */
#define MOST_INPUTS 256

#ifdef MATRIX_UNITS
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MATRIX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16")))

/* Rows as high and low parts, (BLOCK, n_in) each; rows that are not there are zeros. */
MATRIX static void split_rows(const float *x, int64_t rows, int64_t n_in, uint16_t *high,
                              uint16_t *low, int parts) {
    for (int64_t row = 0; row < BLOCK; row++) {
        for (int64_t k = 0; k < n_in; k += 16) {
            const __m512 value =
                row < rows ? _mm512_loadu_ps(x + row * n_in + k) : _mm512_setzero_ps();
            const __m256i top = (__m256i)_mm512_cvtneps_pbh(value);
            _mm256_storeu_si256((__m256i *)(high + row * n_in + k), top);
            if (parts == 1) continue;
            const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(top), 16);
            const __m512 rest = _mm512_sub_ps(value, _mm512_castsi512_ps(wide));
            _mm256_storeu_si256((__m256i *)(low + row * n_in + k),
                                (__m256i)_mm512_cvtneps_pbh(rest));
        }
    }
}

MATRIX static void multiply(const float *x, int64_t rows, int64_t n_in, const uint16_t *weight,
                            int64_t n_out, const float *bias, float *out, int parts) {
    static const float none[BLOCK];
    uint16_t high[BLOCK * MOST_INPUTS] __attribute__((aligned(64)));
    uint16_t low[BLOCK * MOST_INPUTS] __attribute__((aligned(64)));
    float last[BLOCK * BLOCK] __attribute__((aligned(64)));
    _tile_loadconfig(&EIGHT_TILES);
    for (int64_t first = 0; first < rows; first += BLOCK) {
        const int64_t left = rows - first < BLOCK ? rows - first : BLOCK;
        split_rows(x + first * n_in, left, n_in, high, low, parts);
        for (int64_t column = 0; column < n_out; column += BLOCK) {
            /* Of these columns: all high parts, then all low ones. */
            const uint16_t *top = weight + 2 * column * n_in, *rest = top + BLOCK * n_in;
            const float *begin = bias ? bias + column : none;
            _tile_loadd(0, begin, 0);
            _tile_loadd(1, begin + 16, 0);
            _tile_loadd(2, begin, 0);
            _tile_loadd(3, begin + 16, 0);
            for (int64_t k = 0; k < n_in; k += 32) {
                LOAD_ROWS(high, k);
                LOAD_COLUMNS(top, k);
                MULTIPLY();
                if (parts == 1) continue;
                LOAD_COLUMNS(rest, k);
                MULTIPLY();
                LOAD_ROWS(low, k);
                LOAD_COLUMNS(top, k);
                MULTIPLY();
            }
            float *to = left == BLOCK ? out + first * n_out + column : last;
            const int64_t step = left == BLOCK ? n_out : BLOCK;
            _tile_stored(0, to, 4 * step);
            _tile_stored(1, to + 16, 4 * step);
            _tile_stored(2, to + 16 * step, 4 * step);
            _tile_stored(3, to + 16 * step + 16, 4 * step);
            if (left < BLOCK)
                for (int64_t row = 0; row < left; row++)
                    memcpy(out + (first + row) * n_out + column, last + row * BLOCK,
                           BLOCK * sizeof(float));
        }
    }
    _tile_release();
}

/* Weights (n_in, n_out) as tiles: for every 32 columns the high parts and then the low parts, of
 * each for every 32 inputs two tiles of 16 columns, pairs of inputs side by side. */
MATRIX static void arrange(const float *weight, int64_t n_in, int64_t n_out, uint16_t *to) {
    for (int64_t k = 0; k < n_in; k++) {
        for (int64_t column = 0; column < n_out; column++) {
            const float value = weight[k * n_out + column];
            const uint16_t high = (uint16_t)_mm_extract_epi16(
                (__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)), 0);
            const uint32_t bits = (uint32_t)high << 16;
            float top;
            memcpy(&top, &bits, sizeof top);
            const int64_t c = column % BLOCK, place = 32 * (k / 32 * 32) + c / 16 * 512 +
                                                      k % 32 / 2 * 32 + c % 16 * 2 + k % 2;
            uint16_t *columns = to + 2 * (column - c) * n_in;
            columns[place] = high;
            columns[BLOCK * n_in + place] = (uint16_t)_mm_extract_epi16(
                (__m128i)_mm_cvtneps_pbh(_mm_set_ss(value - top)), 0);
        }
    }
}
#endif

/* Whether this process may use matrix units; Linux wants to be asked before. */
EXPORTED int ionscreen_has_matrix_units(void) {
#ifdef MATRIX_UNITS
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (!(d & (1u << 22)) || !(d & (1u << 24))) return 0; /* amx-bf16, amx-tile */
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & (1u << 5))) return 0; /* avx512_bf16 */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bw")) return 0;
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}

/* Weights (n_in, n_out) for ionscreen_product, 2 x n_in x n_out numbers of 16 bits. */
EXPORTED void ionscreen_arrange(const float *weight, int64_t n_in, int64_t n_out, uint16_t *to) {
#ifdef MATRIX_UNITS
    arrange(weight, n_in, n_out, to);
#else
    (void)weight, (void)n_in, (void)n_out, (void)to;
#endif
}

/* out = x weight + bias (or NULL); parts 1: bfloat16, 2: float32 to round-off. n_in at most
 * MOST_INPUTS, n_in and n_out multiples of BLOCK. Only where ionscreen_has_matrix_units. */
EXPORTED void ionscreen_product(const float *x, int64_t rows, int64_t n_in, const uint16_t *weight,
                                int64_t n_out, const float *bias, float *out, int parts) {
#ifdef MATRIX_UNITS
    multiply(x, rows, n_in, weight, n_out, bias, out, parts);
#else
    (void)x, (void)rows, (void)n_in, (void)weight, (void)n_out, (void)bias, (void)out, (void)parts;
#endif
}
