/* One edge-gated convolution between its matrix products: gate, weighted sums, SiLU and residual.
 *
 * Plain C called through pointers (models/fused.py holds the same struct): it needs no header of
 * torch or Python. The body is compiled for several instruction sets, and the processor is asked
 * which to run, so that a library built on one node does no harm on another.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "fused.h"

#define MOST_CHANNELS 2048
#define EPSILON 1e-6f

typedef struct {
    int64_t width;            /* channels of a row, a multiple of 16, at most MOST_CHANNELS */
    const int64_t *node;      /* (groups,) the node that each group of rows is summed into */
    const int64_t *first_row; /* (groups + 1,) rows of each group */
    const int64_t *first_source; /* (groups,) where its sources begin */
    const int64_t *source;    /* (sources,) node that each row comes from */
    const float *weight;      /* multiplicities: by row, or by source node */
    int64_t weight_by_row;
    const float *products;    /* (nodes, 4, width): source gate, destination gate, message, own */
    const float *old_nodes;   /* (nodes, width) */
    float *new_nodes;         /* (nodes, width), written */
    const float *logits;      /* (rows, width) edge gate; unread where there is a table */
    int64_t logits_row;       /* the row that logits begin with */
    int64_t ahead;            /* how many rows on the next part is, to be fetched meanwhile */
    int64_t n_rows;
    float *rows;              /* (rows, width); read only to be fetched where not changed */
    int64_t update;           /* whether to change them: somebody reads them afterwards */
    const float *gain;        /* (width,) of the batch norm on rows */
    const float *shift;
    const float *table;       /* (cells + 3, columns): edge gate, then row, of a cosine; or NULL */
    int64_t columns;
    const int64_t *cell;      /* (rows,) first of the four lines of the table */
    const float *share;       /* (rows, 4) what each of the four counts */
} Convolution;

INLINE void gate_row(int64_t width, const float *RESTRICT logits, const float *RESTRICT from,
                     const float *RESTRICT into, const float *RESTRICT message, float weight,
                     float *RESTRICT total, float *RESTRICT norm) {
    SIMD for (int64_t c = 0; c < width; c++) {
        const float gate = weight / one_and_exp(logits[c] + from[c] + into[c]);
        norm[c] += gate;
        total[c] += gate * message[c];
    }
}

/* As above, and the row's own update: one division serves both. */
INLINE void gate_and_update_row(int64_t width, const float *RESTRICT logits,
                                const float *RESTRICT from, const float *RESTRICT into,
                                const float *RESTRICT message, float weight,
                                float *RESTRICT total, float *RESTRICT norm,
                                const float *RESTRICT gain, const float *RESTRICT shift,
                                const float *before, float *after) {
    SIMD for (int64_t c = 0; c < width; c++) {
        const float logit = logits[c] + from[c] + into[c];
        const float normal = gain[c] * logit + shift[c];
        const float one = one_and_exp(logit), other = one_and_exp(normal);
        const float inverse = 1.0f / (one * other);
        const float gate = weight * (inverse * other);
        norm[c] += gate;
        total[c] += gate * message[c];
        after[c] = before[c] + normal * (inverse * one);
    }
}

INLINE void interpolate(int64_t columns, const float *RESTRICT lines, int64_t stride,
                        const float *RESTRICT share, float *RESTRICT out) {
    const float a = share[0], b = share[1], c = share[2], d = share[3];
    SIMD for (int64_t i = 0; i < columns; i++)
        out[i] = (a * lines[i] + b * lines[i + stride])
               + (c * lines[i + 2 * stride] + d * lines[i + 3 * stride]);
}

INLINE void finish_node(int64_t width, const float *RESTRICT own, const float *RESTRICT before,
                        const float *RESTRICT total, const float *RESTRICT norm,
                        float *RESTRICT after) {
    SIMD for (int64_t c = 0; c < width; c++) {
        const float normal = own[c] + total[c] / (norm[c] + EPSILON);
        after[c] = before[c] + normal / one_and_exp(normal);
    }
}

/* Bring a row of the next part into the second cache while this one keeps the processor busy. */
INLINE void fetch(const Convolution *job, int64_t row) {
#if defined(__GNUC__) || defined(__clang__)
    if (row >= job->n_rows) return;
    const float *first = job->rows + row * job->width;
    for (int64_t c = 0; c < job->width; c += 16) __builtin_prefetch(first + c, 0, 2);
#endif
}

INLINE void convolve(const Convolution *job, int64_t begin, int64_t end) {
    float total[MOST_CHANNELS], norm[MOST_CHANNELS], found[2 * MOST_CHANNELS];
    const int64_t width = job->width;
    for (int64_t group = begin; group < end; group++) {
        const int64_t node = job->node[group];
        const int64_t first = job->first_row[group], count = job->first_row[group + 1] - first;
        const int64_t *source = job->source + job->first_source[group];
        const float *into = job->products + (4 * node + 1) * width;
        memset(total, 0, width * sizeof(float));
        memset(norm, 0, width * sizeof(float));
        for (int64_t i = 0; i < count; i++) {
            const int64_t row = first + i;
            const float *from = job->products + 4 * source[i] * width;
            const float *message = from + 2 * width;
            const float weight = job->weight[job->weight_by_row ? row : source[i]];
            const float *logits = found, *before = found + width;
            if (job->table) {
                interpolate(job->update ? 2 * width : width,
                            job->table + job->cell[row] * job->columns, job->columns,
                            job->share + 4 * row, found);
            } else {
                logits = job->logits + (row - job->logits_row) * width;
                before = job->rows + row * width;
                fetch(job, row + job->ahead);
            }
            if (job->update)
                gate_and_update_row(width, logits, from, into, message, weight, total, norm,
                                    job->gain, job->shift, before, job->rows + row * width);
            else
                gate_row(width, logits, from, into, message, weight, total, norm);
        }
        finish_node(width, job->products + (4 * node + 3) * width,
                    job->old_nodes + node * width, total, norm, job->new_nodes + node * width);
    }
}

static void convolve_plain(const Convolution *job, int64_t begin, int64_t end) {
    convolve(job, begin, end);
}

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define MANY_SETS 1
__attribute__((target("avx2,fma")))
static void convolve_avx2(const Convolution *job, int64_t begin, int64_t end) {
    convolve(job, begin, end);
}
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")))
static void convolve_avx512(const Convolution *job, int64_t begin, int64_t end) {
    convolve(job, begin, end);
}
#endif

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

/* What the caller must agree with: counts up with every change of the struct or of its meaning. */
EXPORTED int ionscreen_version(void) { return 1; }

/* The best instruction set that processor and library share: 0 plain, 1 AVX2, 2 AVX-512. */
EXPORTED int ionscreen_level(void) {
#ifdef MANY_SETS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

/* Convolve the groups [begin, end) with an instruction set that ionscreen_level allows. */
EXPORTED void ionscreen_convolve(const Convolution *job, int64_t begin, int64_t end, int level) {
#ifdef MANY_SETS
    if (level >= 2) {
        convolve_avx512(job, begin, end);
        return;
    }
    if (level == 1) {
        convolve_avx2(job, begin, end);
        return;
    }
#endif
    convolve_plain(job, begin, end);
}

/* setuptools asks the Windows linker for this name; nobody imports the library as a module. */
EXPORTED void *PyInit__fused(void) { return 0; }
