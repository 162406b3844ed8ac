/* Bond valence energies of an ion at points (pathways/bond_valence.py, whose numpy does the same). */
#include "compiled.h"

#define AXES 3

typedef struct {
    int64_t n;                /* atoms */
    const double *lattice;    /* (3, 3), rows are the cell vectors */
    const double *inverse;    /* (3, 3) */
    const double *pad;        /* (3,) the reach in cells */
    const double *frac;       /* (n, 3), wrapped into the cell */
    const double *r_min;      /* (n,), and so are the next four */
    const double *b;
    const double *depth;
    const double *repulsion;
    const double *screening;
    double reach;
    double taper;             /* energies fade out over so much before it */
    double closest;           /* no distance counts as less */
    int64_t points;
    const double *point;      /* (points, 3), Cartesian */
    double *energy;           /* (points,) written */
    int64_t failed;           /* written: whether there was no memory */
} Sites;

typedef struct {
    int64_t n;
    double *place[AXES];
    double *square;
    double *near;             /* squared distances of those within reach */
    int32_t *atom;
    int32_t *near_atom;
} Copies;

static void times(const double *row, const double *matrix, double *out) {
    for (int axis = 0; axis < AXES; axis++)
        out[axis] = row[0] * matrix[axis] + row[1] * matrix[3 + axis] + row[2] * matrix[6 + axis];
}

/* Copies of the atoms in the cell and up to the reach around it. */
static int copies_of(const Sites *job, Copies *copies) {
    int64_t box[AXES], most = job->n;
    for (int axis = 0; axis < AXES; axis++) {
        box[axis] = (int64_t)ceil(job->pad[axis]);
        most *= 2 * box[axis] + 1;
    }
    double *space = malloc(most * (5 * sizeof(double) + 2 * sizeof(int32_t)) + 1);
    if (!space) return 0;
    for (int axis = 0; axis < AXES; axis++) copies->place[axis] = space + axis * most;
    copies->square = space + 3 * most;
    copies->near = space + 4 * most;
    copies->atom = (int32_t *)(space + 5 * most);
    copies->near_atom = copies->atom + most;
    int64_t n = 0;
    for (int64_t atom = 0; atom < job->n; atom++) {
        const double *home = job->frac + AXES * atom;
        int64_t first[AXES], last[AXES];
        for (int axis = 0; axis < AXES; axis++) {
            first[axis] = -box[axis] + (home[axis] - (double)box[axis] < -job->pad[axis]);
            last[axis] = box[axis] - (home[axis] + (double)box[axis] > 1.0 + job->pad[axis]);
        }
        for (int64_t i = first[0]; i <= last[0]; i++)
            for (int64_t j = first[1]; j <= last[1]; j++)
                for (int64_t k = first[2]; k <= last[2]; k++) {
                    const double frac[AXES] = {home[0] + (double)i, home[1] + (double)j,
                                               home[2] + (double)k};
                    double place[AXES];
                    times(frac, job->lattice, place);
                    for (int axis = 0; axis < AXES; axis++) copies->place[axis][n] = place[axis];
                    copies->atom[n++] = (int32_t)atom;
                }
    }
    copies->n = n;
    return 1;
}

/* A Morse curve for each anion, half of it the ion's, and a screened repulsion for each cation. */
static double energy_of(const Sites *job, const Copies *copies, int64_t count) {
    const double pi = 3.14159265358979323846;
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const int32_t atom = copies->near_atom[i];
        double distance = sqrt(copies->near[i]), energy = 0.0;
        if (distance < job->closest) distance = job->closest;
        if (job->depth[atom] != 0.0) {
            const double factor = exponential((job->r_min[atom] - distance) / job->b[atom]);
            energy += job->depth[atom] * factor * (factor - 2.0);
        }
        if (job->repulsion[atom] != 0.0)
            energy += job->repulsion[atom] / distance * erfc(distance / job->screening[atom]);
        const double phase = (distance - job->reach) / job->taper + 1.0;
        if (phase > 0.0) energy *= 0.5 * (1.0 + cos(pi * (phase < 1.0 ? phase : 1.0)));
        total += energy;
    }
    return total;
}

INLINE void energies(Sites *job) {
    Copies copies;
    job->failed = !copies_of(job, &copies);
    if (job->failed) return;
    const double limit = job->reach * job->reach;
    for (int64_t p = 0; p < job->points; p++) {
        const double *point = job->point + AXES * p;
        double frac[AXES], home[AXES];
        times(point, job->inverse, frac);
        for (int axis = 0; axis < AXES; axis++) frac[axis] = floor(frac[axis]);
        times(frac, job->lattice, home);
        const double x = point[0] - home[0], y = point[1] - home[1], z = point[2] - home[2];
        const double *RESTRICT by_x = copies.place[0], *RESTRICT by_y = copies.place[1];
        const double *RESTRICT by_z = copies.place[2];
        double *RESTRICT square = copies.square;
        PRAGMA(omp simd)
        for (int64_t i = 0; i < copies.n; i++) {
            const double a = x - by_x[i], b = y - by_y[i], c = z - by_z[i];
            square[i] = a * a + b * b + c * c;
        }
        int64_t count = 0;
        for (int64_t i = 0; i < copies.n; i++) {
            copies.near[count] = square[i];
            copies.near_atom[count] = copies.atom[i];
            count += square[i] <= limit;
        }
        job->energy[p] = energy_of(job, &copies, count);
    }
    free(copies.place[0]);
}

FOR_EACH_SET(Sites, energies_best, energies)

EXPORTED void ionscreen_site_energies(Sites *job) { energies_best(job); }
