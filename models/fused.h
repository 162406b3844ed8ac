/* What the compiled parts of models share: how loops are written, and an exponential. */
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define RESTRICT __restrict__
#else
#define INLINE static inline
#define RESTRICT
#endif
#if defined(_OPENMP) || defined(__GNUC__)
#define SIMD _Pragma("omp simd")
#else
#define SIMD
#endif

/* 1 + exp(-x), exp to 1e-7. The exponent is bounded (as an integer: no order of floats, so that what
 * is not a number stays so), which keeps the product of two of these finite. */
INLINE float one_and_exp(float x) {
    const float n = (x * -1.44269504f + 12582912.0f) - 12582912.0f;
    float r = -x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t exponent = (int32_t)n;
    exponent = exponent < -126 ? -126 : exponent;
    exponent = exponent > 62 ? 62 : exponent;
    exponent = (exponent + 127) << 23;
    float power;
    memcpy(&power, &exponent, sizeof power);
    return 1.0f + p * power;
}
