/* Shells of atoms around the images of an ion (models/descriptors.py, whose numpy does the same). */
#include "compiled.h"

#define KINDS 3
#define NEAREST 2
#define MOST_CENTRES 32

typedef struct {
    int64_t copies;         /* of each atom */
    int64_t images;
    int64_t stride;         /* atoms of a row of distances */
    int64_t n;              /* those that count: the last of each row */
    const double *distance; /* (copies, images, stride) */
    const int64_t *kind;    /* (n,) 0 to 2 */
    double reach;
    int64_t centres;
    const double *centre;   /* (centres,) */
    double width;
    double *radial;         /* (KINDS, images, centres) written */
    double *nearest;        /* (KINDS, images, NEAREST) written */
} Shells;

INLINE void count(Shells *job) {
    const int64_t images = job->images, centres = job->centres;
    double centre[MOST_CENTRES];
    memcpy(centre, job->centre, centres * sizeof(double));
    memset(job->radial, 0, KINDS * images * centres * sizeof(double));
    for (int64_t i = 0; i < KINDS * images * NEAREST; i++) job->nearest[i] = job->reach;
    for (int64_t row = 0; row < job->copies * images; row++) {
        const double *distance = job->distance + (row + 1) * job->stride - job->n;
        for (int64_t i = 0; i < job->n; i++) {
            const double apart = distance[i];
            if (!(apart <= job->reach)) continue;
            const int64_t place = job->kind[i] * images + row % images;
            double *RESTRICT radial = job->radial + place * centres;
            double *nearest = job->nearest + place * NEAREST;
            PRAGMA(omp simd)
            for (int64_t c = 0; c < centres; c++) {
                const double gap = (apart - centre[c]) / job->width;
                radial[c] += exponential(-(gap * gap));
            }
            if (apart < nearest[0]) {
                nearest[1] = nearest[0];
                nearest[0] = apart;
            } else if (apart < nearest[1]) {
                nearest[1] = apart;
            }
        }
    }
}
FOR_EACH_SET(Shells, count_best, count)
EXPORTED int ionscreen_shells(Shells *job) {
    if (job->centres > MOST_CENTRES) return 0;
    count_best(job);
    return 1;
}

typedef struct {
    const double *lattice; /* (3, 3) */
    int64_t n;             /* atoms, the images of the ion first */
    const double *frac;    /* (n, 3) */
    int64_t images;
    double *distance;      /* (27, images, n) written: to each copy one cell either way */
    double *space;         /* (3, n) */
} Distances;

INLINE void measure(Distances *job) {
    const int64_t n = job->n;
    const double *lattice = job->lattice, magic = 6755399441055744.0; /* 1.5 * 2^52, to round */
    double *RESTRICT by_x = job->space, *RESTRICT by_y = by_x + n, *RESTRICT by_z = by_y + n;
    for (int64_t image = 0; image < job->images; image++) {
        const double *from = job->frac + 3 * image;
        for (int64_t i = 0; i < n; i++) {
            double step[3];
            for (int axis = 0; axis < 3; axis++) {
                const double gap = job->frac[3 * i + axis] - from[axis];
                step[axis] = gap - ((gap + magic) - magic);
            }
            by_x[i] = step[0] * lattice[0] + step[1] * lattice[3] + step[2] * lattice[6];
            by_y[i] = step[0] * lattice[1] + step[1] * lattice[4] + step[2] * lattice[7];
            by_z[i] = step[0] * lattice[2] + step[1] * lattice[5] + step[2] * lattice[8];
        }
        for (int64_t copy = 0; copy < 27; copy++) {
            const double a = copy / 9 - 1, b = copy / 3 % 3 - 1, c = copy % 3 - 1;
            const double x = a * lattice[0] + b * lattice[3] + c * lattice[6];
            const double y = a * lattice[1] + b * lattice[4] + c * lattice[7];
            const double z = a * lattice[2] + b * lattice[5] + c * lattice[8];
            double *RESTRICT out = job->distance + (copy * job->images + image) * n;
            PRAGMA(omp simd)
            for (int64_t i = 0; i < n; i++) {
                const double u = by_x[i] + x, v = by_y[i] + y, w = by_z[i] + z;
                out[i] = u * u + v * v + w * w;
            }
            for (int64_t i = 0; i < n; i++) out[i] = sqrt(out[i]);
        }
    }
}
FOR_EACH_SET(Distances, measure_best, measure)
EXPORTED void ionscreen_distances(Distances *job) { measure_best(job); }
