/* The soft repulsion around a hop (pathways/curved_field.py, whose numpy does the same): which atoms
 * it holds, what it is along a path, and strings of points that slide down in it. */
#include "compiled.h"

#define AXES 3

/* What the caller must agree with: counts up with every change of a struct or of its meaning. */
EXPORTED int ionscreen_paths_version(void) { return 1; }

/* The instruction set that is run: 0 plain, 1 AVX2, 2 AVX-512. */
EXPORTED int ionscreen_paths_level(void) { return LEVEL(); }

typedef struct {
    int64_t n;               /* host atoms */
    const double *place;     /* (n, 3) */
    const double *contact;   /* (n,) */
    const double *exponent;  /* (n,) */
    const int64_t *kind;     /* (n,) 0 to 2 */
    int64_t paths;
    int64_t points;          /* of each path */
    double *path;            /* (paths, points, 3), changed by relaxing */
    int64_t steps;
    int64_t respaced;        /* points are spread evenly after so many steps */
    double gain;
    double most_step;
    double smoothing;
    double tiny;
    double far;              /* room beyond this counts as this */
    double *by_class;        /* (paths * points, 3), written by describing */
    double *room;            /* (paths * points, 3), written by describing */
    int64_t failed;          /* written: whether there was no memory */
} Strings;

/* A pair's logarithm is x * place[0] + y * place[1] + z * place[2] - square * exponent + offset. */
typedef struct {
    int64_t n;
    double *place[AXES]; /* twice the exponent times the place */
    double *exponent;
    double *offset;
} Host;

INLINE int prepare(const Strings *job, Host *host) {
    const int64_t n = host->n = (job->n + 7) / 8 * 8;
    double *space = malloc((5 * n + 1) * sizeof(double));
    if (!space) return 0;
    for (int64_t axis = 0; axis < AXES; axis++) host->place[axis] = space + axis * n;
    host->exponent = space + 3 * n;
    host->offset = space + 4 * n;
    for (int64_t i = 0; i < n; i++) {
        const int real = i < job->n; /* the others fill the last vector and weigh nothing */
        const double *place = job->place + AXES * (real ? i : 0);
        const double exponent = real ? job->exponent[i] : 0.0, contact = real ? job->contact[i] : 0.0;
        double square = contact * contact;
        for (int64_t axis = 0; axis < AXES; axis++) {
            host->place[axis][i] = 2.0 * exponent * (real ? place[axis] : 0.0);
            square -= real ? place[axis] * place[axis] : 0.0;
        }
        host->exponent[i] = exponent;
        host->offset[i] = real ? square * exponent : -1000.0;
    }
    return 1;
}

/* Gradient of the logarithm of the energy at a point. */
INLINE void slope_at(const Host *host, const double *point, double tiny, double *slope) {
    const double x = point[0], y = point[1], z = point[2], square = x * x + y * y + z * z;
    const double *RESTRICT by_x = host->place[0], *RESTRICT by_y = host->place[1];
    const double *RESTRICT by_z = host->place[2], *RESTRICT exponent = host->exponent;
    const double *RESTRICT offset = host->offset;
    double energy = 0.0, weight = 0.0, along_x = 0.0, along_y = 0.0, along_z = 0.0;
    const int64_t n = host->n & ~(int64_t)7;
    PRAGMA(omp simd reduction(+ : energy, weight, along_x, along_y, along_z))
    for (int64_t i = 0; i < n; i++) {
        const double pair = exponential(by_x[i] * x + by_y[i] * y + by_z[i] * z
                                        - exponent[i] * square + offset[i]);
        energy += pair;
        weight += pair * exponent[i];
        along_x += pair * by_x[i];
        along_y += pair * by_y[i];
        along_z += pair * by_z[i];
    }
    energy = energy > tiny ? energy : tiny;
    slope[0] = (along_x - 2.0 * weight * x) / energy;
    slope[1] = (along_y - 2.0 * weight * y) / energy;
    slope[2] = (along_z - 2.0 * weight * z) / energy;
}

INLINE double dot(const double *a, const double *b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* Evenly spaced points on a polygon, ends kept; ``marks`` is space for a number for each corner. */
static void spread(double *path, int64_t points, const double *before, int64_t corners, double *marks,
                   double tiny) {
    marks[0] = 0.0;
    for (int64_t i = 1; i < corners; i++) {
        double step[AXES];
        for (int axis = 0; axis < AXES; axis++)
            step[axis] = before[AXES * i + axis] - before[AXES * (i - 1) + axis];
        marks[i] = marks[i - 1] + sqrt(dot(step, step));
    }
    for (int64_t i = 0, left = 0; i < points; i++) {
        const double share = i == points - 1 ? 1.0 : (double)i * (1.0 / (double)(points - 1));
        const double wanted = marks[corners - 1] * share;
        while (left < corners - 2 && marks[left + 1] <= wanted) left++;
        const double length = marks[left + 1] - marks[left];
        const double part = (wanted - marks[left]) / (length > tiny ? length : tiny);
        for (int axis = 0; axis < AXES; axis++) {
            const double from = before[AXES * left + axis];
            path[AXES * i + axis] = from + part * (before[AXES * (left + 1) + axis] - from);
        }
    }
}

/* One step of one path: downhill across its own direction, then smoother. */
INLINE void slide(const Strings *job, const Host *host, double *path, double *moved) {
    const int64_t points = job->points;
    memcpy(moved, path, AXES * points * sizeof(double));
    for (int64_t i = 1; i < points - 1; i++) {
        const double *here = path + AXES * i;
        double slope[AXES], tangent[AXES], move[AXES];
        slope_at(host, here, job->tiny, slope);
        for (int axis = 0; axis < AXES; axis++) tangent[axis] = here[AXES + axis] - here[axis - AXES];
        const double length = dot(tangent, tangent);
        const double share = dot(slope, tangent) / (length > job->tiny ? length : job->tiny);
        for (int axis = 0; axis < AXES; axis++)
            move[axis] = job->gain * (share * tangent[axis] - slope[axis]);
        const double size = sqrt(dot(move, move));
        const double scale = job->most_step / (size > job->most_step ? size : job->most_step);
        for (int axis = 0; axis < AXES; axis++) moved[AXES * i + axis] = here[axis] + move[axis] * scale;
    }
    memcpy(path, moved, AXES * points * sizeof(double));
    for (int64_t i = AXES; i < AXES * (points - 1); i++)
        path[i] += job->smoothing * (moved[i + AXES] + moved[i - AXES] - 2.0 * moved[i]);
}

INLINE void relax(Strings *job) {
    Host host;
    double *space = malloc(4 * job->points * sizeof(double));
    job->failed = !space || !prepare(job, &host);
    if (job->failed) {
        free(space);
        return;
    }
    for (int64_t p = 0; p < job->paths; p++) {
        double *path = job->path + AXES * job->points * p;
        for (int64_t step = 1; step <= job->steps; step++) {
            slide(job, &host, path, space);
            if (step % job->respaced == 0) {
                memcpy(space, path, AXES * job->points * sizeof(double));
                spread(path, job->points, space, job->points, space + AXES * job->points, job->tiny);
            }
        }
    }
    free(host.place[0]);
    free(space);
}

INLINE void describe(Strings *job) {
    const int64_t points = job->paths * job->points, n = job->n;
    double *pair = malloc((2 * n + 1) * sizeof(double)), *square = pair + n;
    job->failed = !pair;
    if (!pair) return;
    for (int64_t p = 0; p < points; p++) {
        const double x = job->path[AXES * p], y = job->path[AXES * p + 1], z = job->path[AXES * p + 2];
        const double *RESTRICT place = job->place, *RESTRICT contact = job->contact;
        const double *RESTRICT exponent = job->exponent;
        PRAGMA(omp simd)
        for (int64_t i = 0; i < n; i++) {
            const double a = x - place[3 * i], b = y - place[3 * i + 1], c = z - place[3 * i + 2];
            square[i] = a * a + b * b + c * c;
            pair[i] = exponential(exponent[i] * (contact[i] * contact[i] - square[i]));
        }
        double *by_class = job->by_class + AXES * p, *room = job->room + AXES * p;
        for (int kind = 0; kind < 3; kind++) by_class[kind] = 0.0, room[kind] = job->far;
        for (int64_t i = 0; i < n; i++) {
            const int64_t kind = job->kind[i];
            const double least = room[kind] + contact[i]; /* a root only where it is the least */
            by_class[kind] += pair[i];
            if (least > 0.0 && square[i] < least * least) room[kind] = sqrt(square[i]) - contact[i];
        }
    }
    free(pair);
}

FOR_EACH_SET(Strings, relax_best, relax)
FOR_EACH_SET(Strings, describe_best, describe)

/* Paths (paths, points, 3) evenly along polygons (paths, corners, 3); whether there was memory. */
EXPORTED int ionscreen_resample(const double *polygons, int64_t paths, int64_t corners, int64_t points,
                                double tiny, double *out) {
    double *marks = malloc(corners * sizeof(double));
    if (!marks) return 0;
    for (int64_t p = 0; p < paths; p++)
        spread(out + AXES * points * p, points, polygons + AXES * corners * p, corners, marks, tiny);
    free(marks);
    return 1;
}

EXPORTED void ionscreen_relax(Strings *job) { relax_best(job); }
EXPORTED void ionscreen_describe(Strings *job) { describe_best(job); }

typedef struct {
    int64_t n;              /* atoms */
    const double *home;     /* (n, 3) */
    const double *reach;    /* (n,) */
    int64_t shifts;
    const double *shift;    /* (shifts, 3) */
    double axis[AXES];
    double half;
    int64_t most;           /* room for so many */
    int64_t *which;         /* (most,) written */
    double *place;          /* (most, 3) written */
    int64_t found;          /* written: how many there are, maybe more than there is room for */
} Images;

/* Images of atoms within reach of the middle piece of a line, atom by atom. */
EXPORTED void ionscreen_images(Images *job) {
    job->found = 0;
    for (int64_t i = 0; i < job->n; i++) {
        const double *home = job->home + AXES * i, limit = job->reach[i] * job->reach[i];
        for (int64_t s = 0; s < job->shifts; s++) {
            const double *shift = job->shift + AXES * s;
            const double place[AXES] = {home[0] + shift[0], home[1] + shift[1], home[2] + shift[2]};
            const double along = dot(place, job->axis);
            const double over = fabs(along) - job->half, beyond = over > 0.0 ? over : 0.0;
            if (dot(place, place) - along * along + beyond * beyond < limit) {
                if (job->found < job->most) {
                    job->which[job->found] = i;
                    memcpy(job->place + AXES * job->found, place, sizeof place);
                }
                job->found++;
            }
        }
    }
}

/* setuptools asks the Windows linker for this name; nobody imports the library as a module. */
EXPORTED void *PyInit__paths(void) { return 0; }
