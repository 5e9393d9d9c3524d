// Inverted dropout, forward and (applied to dy) backward: y = kept ? x SCALE : 0, SCALE = 1 / (1 - p). See common/dropout.cuh.
//
//   dropout_naive   one element per thread, which draws four words for it; also the second oracle
//   dropout         16 bytes per access, all four words of a Philox block used
//
// Layout: contiguous, any start (ALIGNED 0) and any count. Mapping: flat (common/walk.cuh).
// Bytes per element: 2 T (T = bytes of the storage type), and 16 per warp for the generator. Live registers: UNROLL vectors of 4,
// 12 of the walk, 14 of Philox: about 36 at UNROLL 2. Ten rounds cost some 15 issue slots per element, of the 28 that bf16 leaves
// at 4 TB/s. Arithmetic in f32. x and y may be one tensor.
#include "common/dropout.cuh"
#include "common/walk.cuh"

#ifndef DTYPE
#define DTYPE float
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(LAYOUT == 0, "no element has a channel");

template <int N>
DEVICE Vec<T, N> drop(const Vec<T, N>& x, const Dropout& dropout, i64 at) {
    auto v = to_float(x);
    dropout.apply(v, at);
    return from_float<T>(v);
}

extern "C" __global__ void __launch_bounds__(256) dropout_naive(T* y, const T* x, const i64* state, i64 count) {
    const Dropout dropout(state);
    for (i64 i = global_thread(); i < count; i += global_threads()) y[i] = drop(Vec<T, 1>{x[i]}, dropout, i)[0];
}

struct Batch {
    i64 at[UNROLL];
    Vec<T, VECTOR> x[UNROLL];

    DEVICE void load(Walk& walk, const T* all_x) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            at[u] = walk.next();
            if (at[u] >= 0) x[u] = read(all_x + at[u]);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) dropout(T* y, const T* x, const i64* state, i64 count) {
    Walk walk(1, 1, count, 0);
    Batch batch;
    batch.load(walk, x);
    const Dropout dropout(state);
    for (;;) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            if (batch.at[u] >= 0) write(y + batch.at[u], drop(batch.x[u], dropout, batch.at[u]));
        }
        if (!walk.more()) break;
        batch.load(walk, x);
    }
    const i64 rest = count / VECTOR * VECTOR + global_thread();
    if (rest < count) y[rest] = drop(Vec<T, 1>{x[rest]}, dropout, rest)[0];
}
