/* What the compiled parts of pathways share: several instruction sets, and an exponential.
 *
 * Plain C called through pointers (pathways/compiled.py): no header of Python is needed. Bodies are
 * written once and compiled for several instruction sets; the processor is asked which to run, so
 * that a library built on one node does no harm on another.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define RESTRICT __restrict__
#define PRAGMA(text) _Pragma(#text)
#define THREAD_LOCAL __thread
#else
#define INLINE static inline
#define RESTRICT
#define PRAGMA(text)
#define THREAD_LOCAL __declspec(thread)
#endif
#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512                                                                           \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,"                \
                          "prefer-vector-width=512")))
#ifdef IONSCREEN_LEVEL
#define LEVEL() IONSCREEN_LEVEL /* for tests, of a set that is known to be there */
#else
#define LEVEL()                                                                          \
    (__builtin_cpu_init(),                                                               \
     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&          \
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")    \
         ? 2                                                                             \
         : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0)
#endif
#else
#define AVX2
#define AVX512
#define LEVEL() 0
#endif
/* NAME(job), which runs the best of what WRITE(NAME, SET) writes for each instruction set. */
#define WRITE_EACH_SET(TYPE, NAME, WRITE)                                                \
    WRITE(NAME##_plain, )                                                                \
    WRITE(NAME##_avx2, AVX2)                                                             \
    WRITE(NAME##_avx512, AVX512)                                                         \
    static void NAME(TYPE *job) {                                                        \
        const int level = LEVEL();                                                       \
        (level == 2 ? NAME##_avx512 : level == 1 ? NAME##_avx2 : NAME##_plain)(job);     \
    }
/* NAME(job), which runs BODY(job), an INLINE function, with the best instruction set there is. */
#define FOR_EACH_SET(TYPE, NAME, BODY)                                                   \
    static void NAME##_plain(TYPE *job) { BODY(job); }                                   \
    AVX2 static void NAME##_avx2(TYPE *job) { BODY(job); }                               \
    AVX512 static void NAME##_avx512(TYPE *job) { BODY(job); }                           \
    static void NAME(TYPE *job) {                                                        \
        const int level = LEVEL();                                                       \
        (level == 2 ? NAME##_avx512 : level == 1 ? NAME##_avx2 : NAME##_plain)(job);     \
    }

/* exp(x) to about 2e-16, for x up to 700; anything below -708 counts as that. The rounded multiple of
 * ln 2 is read off the low bits of a sum, which needs no conversion that an instruction set lacks. */
INLINE double exponential(double x) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    x = x < -708.0 ? -708.0 : x;
    const double shifted = x * 1.4426950408889634 + magic;
    const double n = shifted - magic;
    const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    const double s = r * r;
    double even = 1.0 / 479001600.0, odd = 1.0 / 6227020800.0;
    even = even * s + 1.0 / 3628800.0;
    odd = odd * s + 1.0 / 39916800.0;
    even = even * s + 1.0 / 40320.0;
    odd = odd * s + 1.0 / 362880.0;
    even = even * s + 1.0 / 720.0;
    odd = odd * s + 1.0 / 5040.0;
    even = even * s + 1.0 / 24.0;
    odd = odd * s + 1.0 / 120.0;
    even = even * s + 0.5;
    odd = odd * s + 1.0 / 6.0;
    odd = odd * s + 1.0;
    const double value = (even * s + r * odd) + 1.0;
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 52) + 0x3FF0000000000000u;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}
