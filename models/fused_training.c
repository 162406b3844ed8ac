/* One step of a network in training, forward and backward: product, gate, weighted sums, weighted
 * batch norm, SiLU and residual over groups of rows that stay in a core's cache.
 *
 * A stage is  logits = inputs matrix^T + bias (+ what both ends of a row say, with a gate),
 * out = (inputs +) SiLU(batch norm(logits)), and with a gate also a weighted mean over each group.
 * Forward keeps logits and moments; all else is made again. Plain C called through pointers, as
 * fused.c is; models/fused_gradients_stage.py holds the same struct.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fused.h"
#include "fused_units.h"

#define MOST_CHANNELS 2048
#define ROWS 32             /* of a step forward */
#define MANY_ROWS 64        /* of a step backward: sums over rows need more of them to pay */
#define EPSILON 1e-6f

typedef struct {
    int64_t width;            /* channels of logits, a multiple of 16, at most MOST_CHANNELS */
    int64_t n_in;             /* channels of inputs */
    const float *inputs;      /* (rows, n_in) */
    const uint16_t *matrix;   /* (n_in, width) arranged; NULL: logits hold the product already */
    const uint16_t *matrix_back; /* (width, n_in) arranged */
    const float *bias;        /* (width,) */
    float *logits;            /* (rows, width) */
    const float *count;       /* (rows,) multiplicities in the moments; NULL: no batch norm */
    double *moments;          /* (2, width), added to: sums of logits, and of their squares */

    const int64_t *node;      /* the gate's groups, as in fused.c; NULL: no gate */
    const int64_t *first_row;
    const int64_t *first_source;
    const int64_t *source;
    const float *weight;
    int64_t weight_by_row;
    const float *products;    /* (nodes, 4, width): source gate, destination gate, message, own */
    float *mean;              /* (nodes, width) weighted by the gate */
    float *inverse_norm;      /* (nodes, width) */
    float *gathered;          /* (nodes, width): own and mean */

    const float *gain;        /* (width,) of the batch norm, with its moments folded in */
    const float *shift;
    const float *before;      /* (rows, width) residual, or NULL */
    float *out;               /* (rows, width) */

    const float *grad_out;    /* (rows, width); NULL: nobody reads out */
    const float *pivot;       /* (width,) the mean */
    double *grad_moments;     /* (2, width), added to: sums of the norm's gradient, and times
                                 logits less pivot */
    const float *pull_fixed;  /* (width,): what moments give back to each row's logits */
    const float *pull_slope;  /* (width,): and times the logit less pivot */
    const float *grad_gathered; /* (nodes, width) */
    float *grad_products;     /* (nodes, 4, width), added to where rows come from */
    float *grad_logits;       /* (rows, width) from first_row_of_grad on; NULL with matrix */
    int64_t first_row_of_grad;
    float *grad_inputs;       /* (rows, n_in), or NULL */
    int64_t residual;         /* whether grad_out is part of grad_inputs */
    float *grad_matrix;       /* (width, n_in), added to; or NULL */
    double *grad_bias;        /* (width,), added to, without a gate; or NULL */
} Stage;

/* The slope of SiLU. */
INLINE float slope(float x) {
    const float open = 1.0f / one_and_exp(x);
    return open * (1.0f + x * (1.0f - open));
}

INLINE void flush(int64_t width, float *sums, double *total) {
    for (int64_t c = 0; c < 2 * width; c++) total[c] += sums[c], sums[c] = 0.0f;
}

/* Of rows that were taken relative to one of them, so that single precision was enough. */
INLINE void flush_moments(int64_t width, float *sums, const float *pivot, double count,
                          double *total) {
    for (int64_t c = 0; c < width; c++) {
        const double place = pivot[c], first = sums[c], second = sums[width + c];
        total[c] += first + count * place;
        total[width + c] += second + 2 * place * first + count * place * place;
        sums[c] = sums[width + c] = 0.0f;
    }
}

INLINE void count_row(int64_t width, const float *RESTRICT logits, const float *RESTRICT pivot,
                      float count, float *RESTRICT first, float *RESTRICT second) {
    SIMD for (int64_t c = 0; c < width; c++) {
        const float part = logits[c] - pivot[c];
        first[c] += count * part;
        second[c] += count * part * part;
    }
}

INLINE void gate_row(int64_t width, float *RESTRICT logits, const float *RESTRICT from,
                     const float *RESTRICT into, const float *RESTRICT message, float weight,
                     float *RESTRICT total, float *RESTRICT norm) {
    SIMD for (int64_t c = 0; c < width; c++) {
        const float logit = logits[c] + from[c] + into[c];
        const float gate = weight / one_and_exp(logit);
        logits[c] = logit;
        norm[c] += gate;
        total[c] += gate * message[c];
    }
}

INLINE void finish_node(const Stage *job, int64_t node, float *RESTRICT total,
                        float *RESTRICT norm) {
    const int64_t width = job->width;
    const float *own = job->products + (4 * node + 3) * width;
    float *RESTRICT mean = job->mean + node * width;
    float *RESTRICT inverse = job->inverse_norm + node * width;
    float *RESTRICT gathered = job->gathered + node * width;
    SIMD for (int64_t c = 0; c < width; c++) {
        inverse[c] = 1.0f / (norm[c] + EPSILON);
        mean[c] = total[c] * inverse[c];
        gathered[c] = own[c] + mean[c];
        total[c] = norm[c] = 0.0f;
    }
}

/* Logits and moments of rows [begin, end), or with a gate of groups. */
INLINE void forward(const Stage *job, int64_t begin, int64_t end) {
    float total[MOST_CHANNELS], norm[MOST_CHANNELS], sums[2 * MOST_CHANNELS];
    float pivot[MOST_CHANNELS];
    const int64_t width = job->width;
    memset(total, 0, width * sizeof(float));
    memset(norm, 0, width * sizeof(float));
    memset(sums, 0, 2 * width * sizeof(float));
    int64_t group = begin;
    const int64_t first = job->node ? job->first_row[begin] : begin;
    const int64_t last = job->node ? job->first_row[end] : end;
    for (int64_t row = first; row < last; row += ROWS) {
        const int64_t stop = row + ROWS < last ? row + ROWS : last;
        if (job->matrix) {
            const int64_t more = last - stop < ROWS ? last - stop : ROWS;
            ionscreen_units_rows(job->inputs + row * job->n_in, job->n_in, stop - row, job->n_in,
                                 job->matrix, width, job->bias, 0, job->logits + row * width,
                                 width, job->n_in == width ? job->inputs + stop * width : 0,
                                 job->logits + stop * width, more * width);
        }
        double counted = 0;
        for (int64_t i = row; i < stop; i++) {
            float *logits = job->logits + i * width;
            if (job->node) {
                while (i == job->first_row[group + 1])
                    finish_node(job, job->node[group++], total, norm);
                const int64_t source =
                    job->source[job->first_source[group] + i - job->first_row[group]];
                const float *from = job->products + 4 * source * width;
                gate_row(width, logits, from, job->products + (4 * job->node[group] + 1) * width,
                         from + 2 * width, job->weight[job->weight_by_row ? i : source], total,
                         norm);
            }
            if (!job->count) continue;
            if (i == row) memcpy(pivot, logits, width * sizeof(float));
            count_row(width, logits, pivot, job->count[i], sums, sums + width);
            counted += job->count[i];
        }
        if (job->count) flush_moments(width, sums, pivot, counted, job->moments);
    }
    if (job->node)
        while (group < end) finish_node(job, job->node[group++], total, norm);
}

/* out = (before +) SiLU(gain logits + shift), rows [begin, end). */
INLINE void activate(const Stage *job, int64_t begin, int64_t end) {
    const int64_t width = job->width;
    const float *RESTRICT gain = job->gain, *RESTRICT shift = job->shift;
    for (int64_t row = begin; row < end; row++) {
        const float *RESTRICT logits = job->logits + row * width;
        float *RESTRICT out = job->out + row * width;
        if (job->before) {
            const float *RESTRICT before = job->before + row * width;
            SIMD for (int64_t c = 0; c < width; c++) {
                const float normal = gain[c] * logits[c] + shift[c];
                out[c] = before[c] + normal / one_and_exp(normal);
            }
        } else {
            SIMD for (int64_t c = 0; c < width; c++) {
                const float normal = gain[c] * logits[c] + shift[c];
                out[c] = normal / one_and_exp(normal);
            }
        }
    }
}

/* Sums over rows [begin, end) of the gradient that reaches the batch norm. */
INLINE void collect(const Stage *job, int64_t begin, int64_t end) {
    float sums[2 * MOST_CHANNELS];
    const int64_t width = job->width;
    const float *RESTRICT gain = job->gain, *RESTRICT shift = job->shift;
    const float *RESTRICT pivot = job->pivot;
    memset(sums, 0, 2 * width * sizeof(float));
    float *RESTRICT first = sums, *RESTRICT second = sums + width;
    for (int64_t row = begin; row < end; row++) {
        const float *RESTRICT logits = job->logits + row * width;
        const float *RESTRICT grad = job->grad_out + row * width;
        SIMD for (int64_t c = 0; c < width; c++) {
            const float part = grad[c] * slope(gain[c] * logits[c] + shift[c]);
            first[c] += part;
            second[c] += part * (logits[c] - pivot[c]);
        }
        if ((row - begin) % ROWS == ROWS - 1) flush(width, sums, job->grad_moments);
    }
    flush(width, sums, job->grad_moments);
}

INLINE void norm_back(const Stage *job, int64_t row, float *RESTRICT pull) {
    const int64_t width = job->width;
    const float *RESTRICT gain = job->gain, *RESTRICT shift = job->shift;
    const float *RESTRICT pivot = job->pivot;
    const float *RESTRICT fixed = job->pull_fixed, *RESTRICT slopes = job->pull_slope;
    const float *RESTRICT logits = job->logits + row * width;
    const float *RESTRICT grad = job->grad_out + row * width;
    const float count = job->count[row];
    SIMD for (int64_t c = 0; c < width; c++) {
        const float part = grad[c] * slope(gain[c] * logits[c] + shift[c]);
        pull[c] = gain[c] * part - count * (fixed[c] + slopes[c] * (logits[c] - pivot[c]));
    }
}

/* Adds what the gate gives back, to the row's logits and where the row comes from and goes to. */
INLINE void gate_back(int64_t width, const float *RESTRICT logits, const float *RESTRICT message,
                      const float *RESTRICT grad_total, const float *RESTRICT grad_norm,
                      float weight, float *RESTRICT pull, float *RESTRICT from,
                      float *RESTRICT into) {
    float *RESTRICT sent = from + 2 * width;
    SIMD for (int64_t c = 0; c < width; c++) {
        const float open = 1.0f / one_and_exp(logits[c]);
        const float gate = weight * open;
        const float all =
            pull[c] + gate * (1.0f - open) * (grad_total[c] * message[c] + grad_norm[c]);
        pull[c] = all;
        from[c] += all;
        into[c] += all;
        sent[c] += gate * grad_total[c];
    }
}

INLINE void begin_node(const Stage *job, int64_t node, float *RESTRICT grad_total,
                       float *RESTRICT grad_norm) {
    const int64_t width = job->width;
    const float *RESTRICT grad = job->grad_gathered + node * width;
    const float *RESTRICT mean = job->mean + node * width;
    const float *RESTRICT inverse = job->inverse_norm + node * width;
    SIMD for (int64_t c = 0; c < width; c++) {
        grad_total[c] = grad[c] * inverse[c];
        grad_norm[c] = -grad_total[c] * mean[c];
    }
}

/* Products of one step backward, on matrix units. */
INLINE void products_back(const Stage *job, int64_t row, int64_t rows, int64_t more,
                          const float *pull) {
    const int64_t width = job->width, n_in = job->n_in, next = row + rows;
    const float *grad_out = job->grad_out ? job->grad_out + next * width : 0;
    const float *grad_inputs = job->grad_inputs ? job->grad_inputs + next * n_in : 0;
    if (job->grad_inputs)
        ionscreen_units_rows(pull, width, rows, width, job->matrix_back, n_in, 0,
                             job->residual ? job->grad_out + row * n_in : 0,
                             job->grad_inputs + row * n_in, n_in, job->logits + next * width,
                             grad_out, more * width);
    if (job->grad_matrix)
        ionscreen_units_columns(pull, width, job->inputs + row * n_in, n_in, rows, width, n_in,
                                job->grad_matrix, job->inputs + next * n_in, grad_inputs,
                                more * n_in);
}

/* Gradients of rows [begin, end), or with a gate of groups; space: (MANY_ROWS, width). */
INLINE void backward(const Stage *job, int64_t begin, int64_t end, float *space) {
    float grad_total[MOST_CHANNELS], grad_norm[MOST_CHANNELS];
    const int64_t width = job->width;
    const int64_t first = job->node ? job->first_row[begin] : begin;
    const int64_t last = job->node ? job->first_row[end] : end;
    int64_t group = begin;
    if (job->node) begin_node(job, job->node[group], grad_total, grad_norm);
    for (int64_t row = first; row < last; row += MANY_ROWS) {
        const int64_t stop = row + MANY_ROWS < last ? row + MANY_ROWS : last;
        float *pulls =
            job->matrix ? space : job->grad_logits + (row - job->first_row_of_grad) * width;
        for (int64_t i = row; i < stop; i++) {
            float *pull = pulls + (i - row) * width;
            if (job->grad_out && job->count)
                norm_back(job, i, pull);
            else
                memset(pull, 0, width * sizeof(float));
            if (!job->node) {
                if (job->grad_bias) {
                    double *RESTRICT bias = job->grad_bias;
                    SIMD for (int64_t c = 0; c < width; c++) bias[c] += pull[c];
                }
                continue;
            }
            while (i == job->first_row[group + 1])
                begin_node(job, job->node[++group], grad_total, grad_norm);
            const int64_t source =
                job->source[job->first_source[group] + i - job->first_row[group]];
            gate_back(width, job->logits + i * width, job->products + (4 * source + 2) * width,
                      grad_total, grad_norm, job->weight[job->weight_by_row ? i : source], pull,
                      job->grad_products + 4 * source * width,
                      job->grad_products + (4 * job->node[group] + 1) * width);
        }
        if (job->matrix) products_back(job, row, stop - row, last - stop < MANY_ROWS ? last - stop : MANY_ROWS,
                          space);
    }
}

enum { FORWARD, ACTIVATE, COLLECT, BACKWARD };

INLINE void work(const Stage *job, int task, int64_t begin, int64_t end, float *space) {
    if (task == FORWARD) forward(job, begin, end);
    if (task == ACTIVATE) activate(job, begin, end);
    if (task == COLLECT) collect(job, begin, end);
    if (task == BACKWARD) backward(job, begin, end, space);
}

static void work_plain(const Stage *job, int task, int64_t begin, int64_t end, float *space) {
    work(job, task, begin, end, space);
}

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define MANY_SETS 1
__attribute__((target("avx2,fma")))
static void work_avx2(const Stage *job, int task, int64_t begin, int64_t end, float *space) {
    work(job, task, begin, end, space);
}
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")))
static void work_avx512(const Stage *job, int task, int64_t begin, int64_t end, float *space) {
    work(job, task, begin, end, space);
}
#endif

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

/* What the caller must agree with: counts up with every change of the struct or of its meaning. */
EXPORTED int ionscreen_training_version(void) { return 1; }

/* One task on rows or groups [begin, end) with an instruction set that ionscreen_level allows;
 * a stage with a matrix only where ionscreen_has_matrix_units. Returns 0, or 1 without memory. */
EXPORTED int ionscreen_train(const Stage *job, int task, int64_t begin, int64_t end, int level) {
    float *space = 0;
    if (begin >= end) return 0;
    if (job->matrix && task == BACKWARD) {
        space = malloc(MANY_ROWS * job->width * sizeof(float));
        if (!space) return 1;
    }
    if (job->matrix) ionscreen_units_begin();
#ifdef MANY_SETS
    if (level >= 2)
        work_avx512(job, task, begin, end, space);
    else if (level == 1)
        work_avx2(job, task, begin, end, space);
    else
#endif
        work_plain(job, task, begin, end, space);
    if (job->matrix) ionscreen_units_end();
    free(space);
    (void)level;
    return 0;
}

/* A matrix for ionscreen_units_rows, 3 x n_in x n_out numbers of 16 bits. */
EXPORTED void ionscreen_training_arrange(const float *matrix, int64_t row_step,
                                         int64_t column_step, int64_t n_in, int64_t n_out,
                                         uint16_t *to) {
    ionscreen_units_arrange(matrix, row_step, column_step, n_in, n_out, to);
}

/* out = x matrix + bias (or NULL) (+ begin, or NULL, of the same steps as out). */
EXPORTED void ionscreen_training_rows(const float *x, int64_t x_step, int64_t rows, int64_t n_in,
                                      const uint16_t *matrix, int64_t n_out, const float *bias,
                                      const float *begin, float *out, int64_t out_step) {
    ionscreen_units_begin();
    ionscreen_units_rows(x, x_step, rows, n_in, matrix, n_out, bias, begin, out, out_step, 0, 0,
                         0);
    ionscreen_units_end();
}

/* sum (n_left, n_right) += left^T right. */
EXPORTED void ionscreen_training_columns(const float *left, const float *right, int64_t rows,
                                         int64_t n_left, int64_t n_right, float *sum) {
    ionscreen_units_begin();
    ionscreen_units_columns(left, n_left, right, n_right, rows, n_left, n_right, sum, 0, 0, 0);
    ionscreen_units_end();
}
