/* Fills on a CPU: the laws of docs/fills.md written straight into memory, without the interpreter's lock.

   The laws stand in _tiles.h, which is compiled once for each instruction set; which one runs is decided when the module is
   imported. All give the same bits. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <pthread.h>
#define HAS_THREADS 1
#endif

#include "_polynomials.h"

#define TILE 64
#define PAIRS 32
#define CHUNK 1024 /* 4 KiB of float32, a multiple of every group: stays in the first-level cache while it is converted */
#define MAX_PARAMETERS 13
#define MAX_DIMS 64
#define MAX_THREADS 64
#define SMALL 16384    /* entries of a matrix that is multiplied out here */
#define SMALL_SIDE 128 /* its shorter side is no longer */
#define SHORTEST 1e-6  /* of a vector of zeros, which a draw of one number may be */

typedef void (*Law)(const uint32_t *key, uint64_t first_block, int64_t groups, const float *parameters, float *out);
typedef void (*Store)(const float *values, int64_t n, void *memory);
typedef void (*Products)(const float *normals, float *out, int64_t count, int64_t rows, int64_t columns, int is_wide,
                         double *room);

enum { NUM_LAWS = 6, NUM_DTYPES = 4 };
static const int64_t ITEM_SIZE[NUM_DTYPES] = {4, 8, 2, 2}; /* float32, float64, bfloat16, float16 */

typedef struct {
    int64_t group_tiles; /* tiles that are made together */
    Law laws[NUM_LAWS];
    Store stores[NUM_DTYPES]; /* NULL: copied as it is */
    Products products;
} Kernels;

#if defined(_MSC_VER)
#define INLINE __forceinline
#define restrict __restrict
#else
#define INLINE __attribute__((always_inline)) inline
#endif

#define NAME(x) baseline_##x
#define TARGET
#define GROUP 32
#include "_tiles.h"

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define HAS_X86_LEVELS 1

#define NAME(x) avx2_##x
#define TARGET __attribute__((target("avx2")))
#define GROUP 64
#include "_tiles.h"

#define NAME(x) avx512_##x
#if defined(__clang__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"), min_vector_width(512)))
#else
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif
#define GROUP 128
#include "_tiles.h"
#endif

static const char *const LEVELS[] = {"baseline", "avx2", "avx512"};

/* The kernels of an instruction set, or NULL where this processor or build lacks it. */
static const Kernels *kernels_of(const char *level) {
    if (strcmp(level, "baseline") == 0) return &baseline_kernels;
#ifdef HAS_X86_LEVELS
    if (strcmp(level, "avx2") == 0 && __builtin_cpu_supports("avx2")) return &avx2_kernels;
    if (strcmp(level, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &avx512_kernels;
#endif
    return NULL;
}

static const Kernels *selected;
static const char *selected_level;

static void select_level(const char *level, const Kernels *kernels) {
    selected = kernels;
    selected_level = level;
}

typedef struct {
    int64_t group_tiles;
    Law law;
    Store store;
    int64_t item_size;
    uint32_t key[2];
    float parameters[MAX_PARAMETERS];
} Fill;

/* Elements start .. start + n of the law, converted and contiguous at `memory`. */
static void write_run(const Fill *fill, int64_t start, int64_t n, char *memory) {
    float chunk[CHUNK];
    const int64_t group = fill->group_tiles * TILE;
    while (n > 0) {
        const int64_t skipped = start % group;
        const uint64_t first_block = (uint64_t)(start / group * fill->group_tiles) * PAIRS;
        int64_t taken;
        if (!fill->store && skipped == 0 && n >= group) {
            taken = n / group * group;
            fill->law(fill->key, first_block, n / group, fill->parameters, (float *)memory);
        } else {
            taken = skipped + n < CHUNK ? n : CHUNK - skipped;
            fill->law(fill->key, first_block, (skipped + taken + group - 1) / group, fill->parameters, chunk);
            if (fill->store)
                fill->store(chunk + skipped, taken, memory);
            else
                memcpy(memory, chunk + skipped, (size_t)taken * sizeof(float));
        }
        start += taken;
        n -= taken;
        memory += taken * fill->item_size;
    }
}

/* Elements start .. start + n of the law, `stride` bytes apart. */
static void write_apart(const Fill *fill, int64_t start, int64_t n, char *memory, int64_t stride) {
    double room[CHUNK]; /* as large as CHUNK of the widest dtype */
    while (n > 0) {
        const int64_t taken = n < CHUNK ? n : CHUNK;
        write_run(fill, start, taken, (char *)room);
        for (int64_t i = 0; i < taken; i++)
            memcpy(memory + i * stride, (char *)room + i * fill->item_size, (size_t)fill->item_size);
        start += taken;
        n -= taken;
        memory += taken * stride;
    }
}

typedef struct {
    int dims;
    int64_t sizes[MAX_DIMS], index_strides[MAX_DIMS], memory_strides[MAX_DIMS]; /* memory in bytes */
} Part;

/* Elements first .. first + n of a part, in its own row-major order; `base` is the index of its first element. */
static void write_part(const Fill *fill, const Part *part, int64_t base, char *memory, int64_t first, int64_t n) {
    const int last = part->dims - 1;
    int64_t at[MAX_DIMS], rest = first;
    for (int dim = last; dim >= 0; dim--) {
        at[dim] = rest % part->sizes[dim];
        rest /= part->sizes[dim];
    }
    while (n > 0) {
        int64_t index = base, offset = 0;
        for (int dim = 0; dim <= last; dim++) {
            index += at[dim] * part->index_strides[dim];
            offset += at[dim] * part->memory_strides[dim];
        }
        int64_t run = part->sizes[last] - at[last];
        if (run > n) run = n;
        if (part->index_strides[last] != 1)
            for (int64_t i = 0; i < run; i++)
                write_run(fill, index + i * part->index_strides[last], 1,
                          memory + offset + i * part->memory_strides[last]);
        else if (part->memory_strides[last] == fill->item_size)
            write_run(fill, index, run, memory + offset);
        else
            write_apart(fill, index, run, memory + offset, part->memory_strides[last]);
        n -= run;
        at[last] += run;
        for (int dim = last; dim > 0 && at[dim] == part->sizes[dim]; dim--) {
            at[dim] = 0;
            at[dim - 1]++;
        }
    }
}

/* What one thread writes: elements first .. first + n of a part, or of a run that begins at `base`. */
typedef struct {
    const Fill *fill;
    const Part *part; /* NULL: a run */
    int64_t base;
    char *memory;
    int64_t first, n;
} Share;

static void *write_share(void *argument) {
    const Share *share = argument;
    if (share->part)
        write_part(share->fill, share->part, share->base, share->memory, share->first, share->n);
    else
        write_run(share->fill, share->base + share->first, share->n,
                  share->memory + share->first * share->fill->item_size);
    return NULL;
}

/* The whole of a share by so many threads, this one among them, which also writes what a refused thread was to. */
static void write_in_threads(Share whole, int64_t threads) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    Share shares[MAX_THREADS];
    for (int64_t i = 0; i < threads; i++) {
        const int64_t begin = whole.n / threads * i / CHUNK * CHUNK;
        const int64_t end = i + 1 < threads ? whole.n / threads * (i + 1) / CHUNK * CHUNK : whole.n;
        shares[i] = whole;
        shares[i].first = whole.first + begin;
        shares[i].n = end - begin;
    }
#ifdef HAS_THREADS
    pthread_t started[MAX_THREADS];
    int is_started[MAX_THREADS];
    for (int64_t i = 1; i < threads; i++)
        is_started[i] = pthread_create(&started[i], NULL, write_share, &shares[i]) == 0;
    write_share(&shares[0]);
    for (int64_t i = 1; i < threads; i++)
        if (is_started[i])
            pthread_join(started[i], NULL);
        else
            write_share(&shares[i]);
#else
    for (int64_t i = 0; i < threads; i++) write_share(&shares[i]);
#endif
}

static int read_fill(PyObject *const *args, Fill *fill) {
    const long law = PyLong_AsLong(args[0]), dtype = PyLong_AsLong(args[1]);
    const uint64_t key = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred()) return 0;
    if (law < 0 || law >= NUM_LAWS || dtype < 0 || dtype >= NUM_DTYPES) {
        PyErr_Format(PyExc_ValueError, "no law %ld, or no dtype %ld", law, dtype);
        return 0;
    }
    const Py_ssize_t count = PyTuple_Size(args[3]);
    if (count < 0) return 0;
    if (count > MAX_PARAMETERS) {
        PyErr_SetString(PyExc_ValueError, "too many parameters");
        return 0;
    }
    memset(fill->parameters, 0, sizeof fill->parameters);
    for (Py_ssize_t i = 0; i < count; i++) fill->parameters[i] = (float)PyFloat_AsDouble(PyTuple_GetItem(args[3], i));
    fill->group_tiles = selected->group_tiles;
    fill->law = selected->laws[law];
    fill->store = selected->stores[dtype];
    fill->item_size = ITEM_SIZE[dtype];
    fill->key[0] = (uint32_t)key;
    fill->key[1] = (uint32_t)(key >> 32);
    return !PyErr_Occurred();
}

static PyObject *no_memory(void) {
    PyErr_SetString(PyExc_ValueError, "the tensor's memory is not allocated");
    return NULL;
}

/* fill(law, dtype, key, parameters, address, start, n, threads=1) */
static PyObject *fill(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    Fill what;
    if (count != 7 && count != 8) {
        PyErr_SetString(PyExc_TypeError, "fill takes law, dtype, key, parameters, address, start, n, threads=1");
        return NULL;
    }
    if (!read_fill(args, &what)) return NULL;
    char *memory = PyLong_AsVoidPtr(args[4]);
    const int64_t start = PyLong_AsLongLong(args[5]), n = PyLong_AsLongLong(args[6]);
    const int64_t threads = count == 8 ? PyLong_AsLongLong(args[7]) : 1;
    if (PyErr_Occurred()) return NULL;
    if (!memory && n > 0) return no_memory();
    Py_BEGIN_ALLOW_THREADS
    write_in_threads((Share){&what, NULL, start, memory, 0, n}, threads);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static int read_dims(PyObject *tuple, int dims, int64_t *out) {
    if (PyTuple_Size(tuple) != dims) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "sizes and strides differ in length");
        return 0;
    }
    for (int dim = 0; dim < dims; dim++) out[dim] = PyLong_AsLongLong(PyTuple_GetItem(tuple, dim));
    return !PyErr_Occurred();
}

/* fill_part(law, dtype, key, parameters, address, base, sizes, index_strides, memory_strides, first, n, threads=1) */
static PyObject *fill_part(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    Fill what;
    Part part;
    if (count != 11 && count != 12) {
        PyErr_SetString(PyExc_TypeError, "fill_part takes law, dtype, key, parameters, address, base, sizes, "
                                         "index_strides, memory_strides, first, n, threads=1");
        return NULL;
    }
    if (!read_fill(args, &what)) return NULL;
    char *memory = PyLong_AsVoidPtr(args[4]);
    const int64_t base = PyLong_AsLongLong(args[5]);
    const Py_ssize_t dims = PyTuple_Size(args[6]);
    if (PyErr_Occurred()) return NULL;
    if (dims < 1 || dims > MAX_DIMS) {
        PyErr_SetString(PyExc_ValueError, "a part has 1 to 64 dims");
        return NULL;
    }
    part.dims = (int)dims;
    if (!read_dims(args[6], part.dims, part.sizes) || !read_dims(args[7], part.dims, part.index_strides) ||
        !read_dims(args[8], part.dims, part.memory_strides))
        return NULL;
    for (int dim = 0; dim < part.dims; dim++) {
        if (part.sizes[dim] < 1) {
            PyErr_SetString(PyExc_ValueError, "a part has sizes of at least 1");
            return NULL;
        }
        part.memory_strides[dim] *= what.item_size;
    }
    const int64_t first = PyLong_AsLongLong(args[9]), n = PyLong_AsLongLong(args[10]);
    const int64_t threads = count == 12 ? PyLong_AsLongLong(args[11]) : 1;
    if (PyErr_Occurred()) return NULL;
    if (!memory && n > 0) return no_memory();
    Py_BEGIN_ALLOW_THREADS
    write_in_threads((Share){&what, &part, base, memory, first, n}, threads);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* reflections(normals, out, count, rows, columns): matrices of few entries, from addresses of float32 */
static PyObject *reflections(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "reflections takes normals, out, count, rows, columns");
        return NULL;
    }
    const float *normals = PyLong_AsVoidPtr(args[0]);
    float *out = PyLong_AsVoidPtr(args[1]);
    const int64_t matrices = PyLong_AsLongLong(args[2]);
    const int64_t rows = PyLong_AsLongLong(args[3]), columns = PyLong_AsLongLong(args[4]);
    if (PyErr_Occurred()) return NULL;
    if (rows < 1 || columns < 1 || rows > SMALL || columns > SMALL || rows * columns > SMALL) {
        PyErr_Format(PyExc_ValueError, "a matrix has 1 to %d entries here", SMALL);
        return NULL;
    }
    const int is_wide = rows < columns;
    double *room = malloc(2 * SMALL * sizeof(double));
    if (!room) return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    selected->products(normals, out, matrices, is_wide ? columns : rows, is_wide ? rows : columns, is_wide, room);
    Py_END_ALLOW_THREADS
    free(room);
    Py_RETURN_NONE;
}

static PyObject *levels(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    PyObject *found = PyList_New(0);
    for (size_t i = 0; found && i < sizeof LEVELS / sizeof *LEVELS; i++) {
        if (!kernels_of(LEVELS[i])) continue;
        PyObject *name = PyUnicode_FromString(LEVELS[i]);
        if (!name || PyList_Append(found, name) < 0) Py_CLEAR(found);
        Py_XDECREF(name);
    }
    return found;
}

static PyObject *level(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyUnicode_FromString(selected_level);
}

/* For tests: all instruction sets must give the same bits. */
static PyObject *select_(PyObject *module, PyObject *name) {
    (void)module;
    for (size_t i = 0; i < sizeof LEVELS / sizeof *LEVELS; i++) {
        PyObject *known = PyUnicode_FromString(LEVELS[i]);
        if (!known) return NULL;
        const int equal = PyUnicode_Compare(name, known) == 0;
        Py_DECREF(known);
        if (PyErr_Occurred()) return NULL;
        if (equal && kernels_of(LEVELS[i])) {
            select_level(LEVELS[i], kernels_of(LEVELS[i]));
            Py_RETURN_NONE;
        }
    }
    PyErr_Format(PyExc_ValueError, "no instruction set %R on this processor", name);
    return NULL;
}

static PyMethodDef methods[] = {
    {"fill", (PyCFunction)(void (*)(void))fill, METH_FASTCALL, NULL},
    {"fill_part", (PyCFunction)(void (*)(void))fill_part, METH_FASTCALL, NULL},
    {"reflections", (PyCFunction)(void (*)(void))reflections, METH_FASTCALL, NULL},
    {"levels", levels, METH_NOARGS, NULL},
    {"level", level, METH_NOARGS, NULL},
    {"select", select_, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module) {
    (void)module;
    for (size_t i = 0; i < sizeof LEVELS / sizeof *LEVELS; i++)
        if (kernels_of(LEVELS[i])) select_level(LEVELS[i], kernels_of(LEVELS[i]));
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernel", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&definition); }
