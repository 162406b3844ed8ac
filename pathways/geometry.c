/* Distances between sites under periodic boundaries and from chords to sites (pathways/neighbours.py,
 * symmetry.py and chords.py, whose numpy does the same). */
#include "compiled.h"

#define AXES 3

/* To the nearest whole number, as rint, which compilers leave to the library. */
INLINE double nearest_whole(double x) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    return (x + magic) - magic;
}

/* Square of a fractional step brought within half a cell, in Cartesian terms. */
INLINE double wrapped_square(const double *lattice, double a, double b, double c) {
    a -= nearest_whole(a);
    b -= nearest_whole(b);
    c -= nearest_whole(c);
    const double x = a * lattice[0] + b * lattice[3] + c * lattice[6];
    const double y = a * lattice[1] + b * lattice[4] + c * lattice[7];
    const double z = a * lattice[2] + b * lattice[5] + c * lattice[8];
    return x * x + y * y + z * z;
}

typedef struct {
    const double *lattice; /* (3, 3) */
    int64_t sites;
    const double *frac;    /* (3, sites): axis by axis */
    int64_t places;
    const double *place;   /* (places, 3) */
    int64_t *target;       /* (places,) written: the nearest site, the first of several */
    double *square;        /* (places,) written */
    double *space;         /* (sites,) */
} Nearest;

INLINE void nearest(Nearest *job) {
    const double *RESTRICT a = job->frac, *RESTRICT b = a + job->sites, *RESTRICT c = b + job->sites;
    double lattice[AXES * AXES], *RESTRICT square = job->space;
    memcpy(lattice, job->lattice, sizeof lattice);
    for (int64_t p = 0; p < job->places; p++) {
        const double *place = job->place + AXES * p;
        const double x = place[0], y = place[1], z = place[2];
        PRAGMA(omp simd)
        for (int64_t i = 0; i < job->sites; i++)
            square[i] = wrapped_square(lattice, x - a[i], y - b[i], z - c[i]);
        int64_t best = 0;
        for (int64_t i = 1; i < job->sites; i++)
            if (square[i] < square[best]) best = i;
        job->target[p] = best;
        job->square[p] = square[best];
    }
}
FOR_EACH_SET(Nearest, nearest_best, nearest)
EXPORTED void ionscreen_nearest(Nearest *job) { nearest_best(job); }

typedef struct {
    const double *lattice;
    int64_t sites;
    const double *frac; /* (3, sites) */
    double least;       /* written: the least squared distance of two */
} Closest;

INLINE void closest(Closest *job) {
    const double *RESTRICT a = job->frac, *RESTRICT b = a + job->sites, *RESTRICT c = b + job->sites;
    double lattice[AXES * AXES], least = INFINITY;
    memcpy(lattice, job->lattice, sizeof lattice);
    for (int64_t i = 1; i < job->sites; i++) {
        const double x = a[i], y = b[i], z = c[i];
        PRAGMA(omp simd reduction(min : least))
        for (int64_t j = 0; j < i; j++) {
            const double square = wrapped_square(lattice, x - a[j], y - b[j], z - c[j]);
            least = square < least ? square : least;
        }
    }
    job->least = least;
}
FOR_EACH_SET(Closest, closest_best, closest)
EXPORTED void ionscreen_closest(Closest *job) { closest_best(job); }

typedef struct {
    int64_t chords;
    const double *start; /* (chords, 3) Cartesian */
    const double *end;   /* (chords, 3) */
    int64_t sites;
    const double *place; /* (3, sites): axis by axis */
    double skipped;      /* sites closer to an end than this do not count */
    double *gap;         /* (chords,) written: distance to the nearest site */
} Chords;

INLINE void chords(Chords *job) {
    const double *RESTRICT by_x = job->place, *RESTRICT by_y = by_x + job->sites;
    const double *RESTRICT by_z = by_y + job->sites;
    const double skipped = job->skipped * job->skipped;
    for (int64_t chord = 0; chord < job->chords; chord++) {
        const double *start = job->start + AXES * chord, *end = job->end + AXES * chord;
        const double x = start[0], y = start[1], z = start[2];
        const double u = end[0] - x, v = end[1] - y, w = end[2] - z;
        const double length = u * u + v * v + w * w;
        double least = INFINITY;
        PRAGMA(omp simd reduction(min : least))
        for (int64_t i = 0; i < job->sites; i++) {
            const double a = by_x[i] - x, b = by_y[i] - y, c = by_z[i] - z;
            const double along = a * u + b * v + c * w, square = a * a + b * b + c * c;
            double share = along / length;
            share = share > 0.0 ? share : 0.0;
            share = share < 1.0 ? share : 1.0;
            const double from_end = square - 2.0 * along + length;
            const double nearer = square < from_end ? square : from_end;
            double gap = square - share * (2.0 * along - share * length);
            gap = nearer < skipped ? INFINITY : gap;
            least = gap < least ? gap : least;
        }
        job->gap[chord] = sqrt(least > 0.0 ? least : 0.0);
    }
}
FOR_EACH_SET(Chords, chords_best, chords)
EXPORTED void ionscreen_chords(Chords *job) { chords_best(job); }
