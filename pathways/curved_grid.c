/* The path of least soft maximum on a grid around a chord (pathways/curved_search.py, whose numpy
 * and scipy do the same): energies, the level that joins both ends, the cheapest path below it. */
#include "compiled.h"

#define AXES 3
#define LANES 8
#define PARTS 2
#define ROWS 4
#define COLUMNS (PARTS * LANES)

typedef double Lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(8)));

typedef struct {
    int64_t n;              /* host atoms */
    const double *place;    /* (n, 3) along the grid's axes */
    const double *contact;  /* (n,) */
    const double *exponent; /* (n,) */
    int64_t shape[AXES];
    const double *tick[AXES]; /* (shape,) of each axis */
    double spacing[AXES];
    double half;            /* of the chord, along the first axis */
    double capsule;
    int64_t start[AXES];
    int64_t end[AXES];
    double sharpness;       /* of the search: its temperature over the level */
    double margin;
    double path_cost;
    double tiny;
    int64_t bisections;
    int64_t most;           /* room for so many nodes */
    int64_t *node;          /* (most, 3) written, start to end */
    double highest;         /* written: the energy of the highest node */
    int64_t found;          /* written: how many nodes; 0 where none is found or there is no room */
} Search;

typedef struct {
    int64_t stride[AXES];
    int64_t size;           /* of the grid with a border of one node on each side */
    double *energy;         /* (size,) */
    double *key;            /* (size,) by which the heap is sorted */
    int32_t *heap;          /* (size,) nodes */
    int32_t *slot;          /* (size,) place in the heap; -1: not yet, -2: done */
    int32_t *before;        /* (size,) */
    int64_t waiting;
} Grid;

typedef struct {
    const Search *job;
    int axis;
    int64_t by_tick; /* steps in the output from one tick to the next */
    int64_t by_atom; /* and from one atom to the next */
    double *space;   /* (n,) */
    double *out;
} Factors;

/* The Gaussians of the atoms along one axis, at each of its ticks. */
INLINE void factors(Factors *job) {
    const Search *search = job->job;
    const double *RESTRICT place = search->place + job->axis, *RESTRICT exponent = search->exponent;
    const double *RESTRICT contact = search->contact;
    const double own = job->axis == 0;
    for (int64_t t = 0; t < search->shape[job->axis]; t++) {
        const double tick = search->tick[job->axis][t];
        double *RESTRICT row = job->space;
        PRAGMA(omp simd)
        for (int64_t i = 0; i < search->n; i++) {
            const double gap = tick - place[AXES * i];
            row[i] = exponential(exponent[i] * (own * contact[i] * contact[i] - gap * gap));
        }
        double *out = job->out + t * job->by_tick;
        for (int64_t i = 0; i < search->n; i++) out[i * job->by_atom] = row[i];
    }
}

typedef struct {
    int64_t n;
    const double *row[ROWS]; /* (n,) each */
    const double *block;     /* (n, COLUMNS) */
    double *out;             /* (ROWS, COLUMNS) */
} Sums;

/* Sums over atoms of some rows times a block of columns. They stay in registers, which compilers see
 * only where the vectors are spelt out. */
#define SUMS(NAME, SET)                                                                  \
    SET static void NAME(Sums *job) {                                                    \
        Lanes total[ROWS][PARTS] = {{{0}}};                                              \
        const double *row[ROWS];                                                         \
        memcpy(row, job->row, sizeof row);                                               \
        for (int64_t i = 0; i < job->n; i++) {                                           \
            const Lanes *column = (const Lanes *)(job->block + i * COLUMNS);             \
            for (int r = 0; r < ROWS; r++)                                               \
                for (int part = 0; part < PARTS; part++)                                 \
                    total[r][part] += row[r][i] * column[part];                          \
        }                                                                                \
        memcpy(job->out, total, sizeof total);                                           \
    }

FOR_EACH_SET(Factors, factors_best, factors)
WRITE_EACH_SET(Sums, sums_best, SUMS)

typedef struct {
    int64_t n, second, third; /* atoms, ticks of either axis */
    const double *by_second;  /* (n, second) */
    const double *by_third;   /* (n, third) */
    const int64_t *j;         /* (COLUMNS,) */
    const int64_t *k;
    double *block;            /* (n, COLUMNS) */
} Products;

INLINE void products(Products *job) {
    const int64_t *RESTRICT j = job->j, *RESTRICT k = job->k;
    for (int64_t i = 0; i < job->n; i++) {
        const double *RESTRICT second = job->by_second + i * job->second;
        const double *RESTRICT third = job->by_third + i * job->third;
        double *RESTRICT out = job->block + i * COLUMNS;
        PRAGMA(omp simd)
        for (int c = 0; c < COLUMNS; c++) out[c] = second[j[c]] * third[k[c]];
    }
}
FOR_EACH_SET(Products, products_best, products)

/* The energies of some columns of nodes, each at one place across the chord. */
static void fill_columns(const Search *job, const Grid *grid, const double *first,
                         const Products *columns, int64_t count, double limit) {
    double sum[ROWS * COLUMNS];
    const int64_t n = job->n, rows = job->shape[0];
    Sums adding = {.n = n, .block = columns->block, .out = sum};
    for (int64_t i = 0; i < rows; i += ROWS) {
        for (int r = 0; r < ROWS; r++) adding.row[r] = first + (i + r < rows ? i + r : i) * n;
        sums_best(&adding);
        for (int64_t at = i; at < i + ROWS && at < rows; at++) {
            const double over = fabs(job->tick[0][at]) - job->half, beyond = over > 0.0 ? over : 0.0;
            double *out = grid->energy + (at + 1) * grid->stride[0] + grid->stride[1] + 1;
            for (int64_t c = 0; c < count; c++) {
                const double y = job->tick[1][columns->j[c]], z = job->tick[2][columns->k[c]];
                if (beyond * beyond + y * y + z * z <= limit)
                    out[columns->j[c] * grid->stride[1] + columns->k[c]] = sum[(at - i) * COLUMNS + c];
            }
        }
    }
}

/* Energies of the nodes within the capsule. */
static void fill(const Search *job, const Grid *grid, double *space) {
    const double limit = job->capsule * job->capsule;
    const int64_t n = job->n, *shape = job->shape, across = shape[1] * shape[2];
    double *first = space + n, *second = first + shape[0] * n, *third = second + shape[1] * n;
    factors_best(&(Factors){job, 0, n, 1, space, first});
    factors_best(&(Factors){job, 1, 1, shape[1], space, second});
    factors_best(&(Factors){job, 2, 1, shape[2], space, third});
    int64_t j[COLUMNS] = {0}, k[COLUMNS] = {0}, count = 0;
    Products columns = {n, shape[1], shape[2], second, third, j, k, third + shape[2] * n};
    for (int64_t jk = 0; jk < across; jk++) {
        j[count] = jk / shape[2];
        k[count] = jk % shape[2];
        const double y = job->tick[1][j[count]], z = job->tick[2][k[count]];
        count += y * y + z * z <= limit;
        if (count == COLUMNS || (count && jk + 1 == across)) {
            products_best(&columns);
            fill_columns(job, grid, first, &columns, count, limit);
            count = 0;
        }
    }
}

static void put(Grid *grid, int64_t slot, int32_t node) {
    grid->heap[slot] = node;
    grid->slot[node] = (int32_t)slot;
}

/* A node into the heap, or up in it where its key has become less. */
static void lift(Grid *grid, int32_t node) {
    int64_t slot = grid->slot[node] < 0 ? grid->waiting++ : grid->slot[node];
    for (; slot > 0; slot = (slot - 1) / 2) {
        const int32_t parent = grid->heap[(slot - 1) / 2];
        if (grid->key[parent] <= grid->key[node]) break;
        put(grid, slot, parent);
    }
    put(grid, slot, node);
}

static int32_t take_least(Grid *grid) {
    const int32_t least = grid->heap[0], last = grid->heap[--grid->waiting];
    grid->slot[least] = -2;
    if (grid->waiting == 0) return least;
    int64_t slot = 0;
    for (int64_t child = 1; child < grid->waiting; child = 2 * slot + 1) {
        if (child + 1 < grid->waiting
            && grid->key[grid->heap[child + 1]] < grid->key[grid->heap[child]])
            child++;
        if (grid->key[last] <= grid->key[grid->heap[child]]) break;
        put(grid, slot, grid->heap[child]);
        slot = child;
    }
    put(grid, slot, last);
    return least;
}

static void begin(Grid *grid, int32_t node, double key) {
    memset(grid->slot, -1, grid->size * sizeof(int32_t));
    grid->waiting = 0;
    grid->key[node] = key;
    lift(grid, node);
}

/* The least level at which places up to it join both ends, if not above ``most``. */
static double joining_level(Grid *grid, int32_t start, int32_t end, const int64_t *move, double most) {
    double level = grid->energy[start];
    int32_t *below = grid->before; /* places up to the level that were not left yet */
    int64_t count = 0;
    memcpy(grid->key, grid->energy, grid->size * sizeof(double));
    begin(grid, start, level);
    while (count || grid->waiting) {
        const int32_t here = count ? below[--count] : take_least(grid);
        if (grid->energy[here] > level) level = grid->energy[here];
        if (here == end) return level;
        for (int m = 0; m < 26; m++) {
            const int32_t next = here + (int32_t)move[m];
            if (grid->slot[next] != -1 || !(grid->energy[next] <= most)) continue;
            if (grid->energy[next] > level) {
                lift(grid, next);
            } else {
                grid->slot[next] = -2;
                below[count++] = next;
            }
        }
    }
    return INFINITY;
}

/* A level, hardly above the least, by bisection between what is surely too low and high enough. */
static double search_level(const Search *job, Grid *grid, int32_t start, int32_t end,
                           const int64_t *move) {
    double low = fmax(grid->energy[start], grid->energy[end]), high = low;
    for (int32_t node = start; node <= end; node += (int32_t)grid->stride[0])
        if (grid->energy[node] > high) high = grid->energy[node];
    if (high <= low) return low;
    const double least = joining_level(grid, start, end, move, high);
    if (least <= low) return low;
    for (int64_t i = 0; i < job->bisections; i++) {
        const double middle = sqrt(low * high);
        if (least <= middle) high = middle;
        else low = middle;
    }
    return high;
}

/* Dijkstra's algorithm; whether the end is reached. */
static int cheapest(const Search *job, Grid *grid, int32_t start, int32_t end, double level,
                    const int64_t *move, const double *length, double *cost) {
    const double temperature = fmax(job->sharpness * level, job->tiny);
    const double limit = level + job->margin * temperature;
    begin(grid, start, 0.0);
    cost[start] = exp((grid->energy[start] - level) / temperature) + job->path_cost;
    while (grid->waiting) {
        const int32_t here = take_least(grid);
        if (here == end) return 1;
        for (int m = 0; m < 26; m++) {
            const int32_t next = here + (int32_t)move[m], slot = grid->slot[next];
            if (slot == -2 || !(grid->energy[next] <= limit)) continue;
            if (slot == -1)
                cost[next] = exp((grid->energy[next] - level) / temperature) + job->path_cost;
            const double key = grid->key[here] + (cost[here] + cost[next]) * length[m];
            if (slot >= 0 && key >= grid->key[next]) continue;
            grid->key[next] = key;
            grid->before[next] = here;
            lift(grid, next);
        }
    }
    return 0;
}

static void write_nodes(Search *job, const Grid *grid, int32_t start, int32_t end) {
    int64_t count = 1;
    for (int32_t node = end; node != start; node = grid->before[node]) count++;
    if (count > job->most) return;
    job->found = count;
    job->highest = grid->energy[start];
    for (int32_t node = end;; node = grid->before[node]) {
        int64_t *out = job->node + AXES * --count;
        out[0] = node / grid->stride[0] - 1;
        out[1] = node % grid->stride[0] / grid->stride[1] - 1;
        out[2] = node % grid->stride[1] - 1;
        if (grid->energy[node] > job->highest) job->highest = grid->energy[node];
        if (node == start) return;
    }
}

static int32_t node_at(const Grid *grid, const int64_t *place) {
    return (int32_t)((place[0] + 1) * grid->stride[0] + (place[1] + 1) * grid->stride[1] + place[2] + 1);
}

static void find_path(Search *job, Grid *grid, double *cost) {
    int64_t move[26];
    double length[26];
    int count = 0;
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            for (int k = -1; k <= 1; k++) {
                if (!i && !j && !k) continue;
                const double a = i * job->spacing[0], b = j * job->spacing[1], c = k * job->spacing[2];
                move[count] = i * grid->stride[0] + j * grid->stride[1] + k;
                length[count++] = sqrt(a * a + b * b + c * c);
            }
    const int32_t start = node_at(grid, job->start), end = node_at(grid, job->end);
    const double level = search_level(job, grid, start, end, move);
    if (cheapest(job, grid, start, end, level, move, length, cost))
        write_nodes(job, grid, start, end);
}

/* Memory kept from call to call, one piece for each thread: fresh pages take longer than the search. */
static void *scratch(size_t bytes) {
    static THREAD_LOCAL void *kept = 0;
    static THREAD_LOCAL size_t size = 0;
    if (bytes > size) {
        free(kept);
        kept = malloc(bytes);
        size = kept ? bytes : 0;
    }
    return kept;
}

EXPORTED void ionscreen_search(Search *job) {
    const int64_t *shape = job->shape;
    Grid grid = {.stride = {(shape[1] + 2) * (shape[2] + 2), shape[2] + 2, 1}};
    grid.size = (shape[0] + 2) * grid.stride[0];
    job->found = 0;
    if (grid.size > INT32_MAX / 2) return;
    const int64_t numbers = (shape[0] + shape[1] + shape[2] + COLUMNS + 1) * job->n;
    const size_t bytes = (3 * grid.size + numbers) * sizeof(double) + 3 * grid.size * sizeof(int32_t);
    double *space = scratch(bytes);
    if (!space) return;
    grid.energy = space;
    grid.key = space + grid.size;
    double *cost = space + 2 * grid.size, *rest = space + 3 * grid.size;
    grid.heap = (int32_t *)(rest + numbers);
    grid.slot = grid.heap + grid.size;
    grid.before = grid.slot + grid.size;
    for (int64_t i = 0; i < grid.size; i++) grid.energy[i] = INFINITY;
    fill(job, &grid, rest);
    find_path(job, &grid, cost);
}
