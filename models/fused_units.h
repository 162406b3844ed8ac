/* What products on the matrix units (AMX) of x86 processors share. */
#include <stdint.h>

#if defined(__linux__) && defined(__x86_64__) && \
    ((defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && __GNUC__ >= 11))
#define MATRIX_UNITS 1
#endif

#ifdef MATRIX_UNITS
/* Tiles 0-3 hold the result, 4-5 rows, 6-7 columns. */
#define MULTIPLY()              \
    _tile_dpbf16ps(0, 4, 6);    \
    _tile_dpbf16ps(1, 4, 7);    \
    _tile_dpbf16ps(2, 5, 6);    \
    _tile_dpbf16ps(3, 5, 7)
#define LOAD_ROWS(part, k)                              \
    _tile_loadd(4, (part) + (k), 2 * n_in);             \
    _tile_loadd(5, (part) + 16 * n_in + (k), 2 * n_in)
#define LOAD_COLUMNS(part, k)                           \
    _tile_loadd(6, (part) + 32 * (k), 64);              \
    _tile_loadd(7, (part) + 32 * (k) + 512, 64)

/* A constant: compilers do not see that the instruction reads more than its first bytes. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} EIGHT_TILES __attribute__((aligned(64))) = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
#endif

/* Of fused_training_products.c, without units no work at all. */
void ionscreen_units_begin(void);
void ionscreen_units_end(void);
void ionscreen_units_arrange(const float *matrix, int64_t row_step, int64_t column_step,
                             int64_t n_in, int64_t n_out, uint16_t *to);
void ionscreen_units_rows(const float *x, int64_t x_step, int64_t rows, int64_t n_in,
                          const uint16_t *matrix, int64_t n_out, const float *bias,
                          const float *begin, float *out, int64_t out_step,
                          const float *next, const float *other, int64_t n_next);
void ionscreen_units_columns(const float *left, int64_t left_step, const float *right,
                             int64_t right_step, int64_t rows, int64_t n_left, int64_t n_right,
                             float *sum, const float *next, const float *other,
                             int64_t n_next);
