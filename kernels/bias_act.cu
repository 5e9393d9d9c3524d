// bias_act forward: y = residual + dropout(activation(x + bias)), each part optional, in one launch.
//
//   bias_act_naive   one element per thread, its channel by division, Philox for one word in four; also the second oracle
//   bias_act         16 bytes per access; with COUNTS also per channel how many values the activation left positive and how many
//                    of y are not finite
//
// Layout: x, residual, y [outer, channels, length] contiguous, bias [channels]. Mapping: common/walk.cuh. Without bias and counts
// the layout is flat; else a thread stays in its channels and keeps their biases in registers.
// Bytes per element (T = bytes of the storage type): 2 T, 3 T with a residual. Besides, per block: its channels' biases once
// (planes: per warp), 16 bytes per warp for the generator; COUNTS with more than one piece: 16 bytes per channel and piece.
// Live registers: UNROLL vectors of up to two tensors (4 each), kOwn biases (and 2 kOwn counts), 12 of the walk, 14 of Philox:
// at UNROLL 2 about 45 in f32 and 55 in bf16, so that 1024 threads are resident with 32 to 64 bytes each in flight.
// Arithmetic in f32. x and y may be one tensor: every element is read and written by one thread.
#include "common/activations.cuh"
#include "common/dropout.cuh"
#include "common/walk.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef BIAS
#define BIAS 0
#endif
#ifndef RESIDUAL
#define RESIDUAL 0
#endif
#ifndef COUNTS
#define COUNTS 0
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(LAYOUT != 0 || (!BIAS && !COUNTS), "channels need columns or planes");

using F = CompiledActivation;

struct Counts {
    u32 sums[2][kOwn] = {};

    DEVICE void add(int e, float active, float y) {
        sums[0][own_channel(e)] += active > 0.0f ? 1u : 0u;
        sums[1][own_channel(e)] += y - y == 0.0f ? 0u : 1u;
    }
};

template <int N>
DEVICE Vec<T, N> forward(const Vec<T, N>& x, const Vec<T, N>& residual, const Vec<float, kOwn>& bias,
                         const Dropout& dropout, i64 at, Counts& counts) {
    auto v = to_float(x);
    Vec<float, N> active;
#pragma unroll
    for (int e = 0; e < N; ++e) v[e] = active[e] = F::forward(BIAS ? v[e] + bias[own_channel(e)] : v[e]);
    dropout.apply(v, at);
#pragma unroll
    for (int e = 0; e < N; ++e) {
        if (RESIDUAL) v[e] += to_float(residual[e]);
        if (COUNTS) counts.add(e, active[e], v[e]);
    }
    return from_float<T>(v);
}

extern "C" __global__ void __launch_bounds__(256)
    bias_act_naive(T* y, const T* x, const T* bias, const T* residual, const i64* state, i64 outer, i64 channels,
                   i64 length) {
    const Dropout dropout(state);
    const i64 count = outer * channels * length;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        Vec<float, 1> v;
        v[0] = F::forward(BIAS ? to_float(x[i]) + to_float(bias[i / length % channels]) : to_float(x[i]));
        dropout.apply(v, i);
        y[i] = from_float<T>(RESIDUAL ? v[0] + to_float(residual[i]) : v[0]);
    }
}

struct Batch {
    i64 at[UNROLL];
    Vec<T, VECTOR> x[UNROLL], residual[UNROLL];

    DEVICE void load(Walk& walk, const T* all_x, const T* all_residual) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            at[u] = walk.next();
            if (at[u] < 0) continue;
            x[u] = read(all_x + at[u]);
            if (RESIDUAL) residual[u] = read(all_residual + at[u]);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    bias_act(T* y, i64* positive, i64* nonfinite, u32* partial, u32* counters, const T* x, const T* bias,
             const T* residual, const i64* state, i64 outer, i64 channels, i64 length, i64 piece) {
    Walk walk(outer, channels, length, piece);
    Batch batch;
    batch.load(walk, x, residual);
    const Dropout dropout(state);
    Vec<float, kOwn> b[1] = {};
    const T* const numbers[1] = {bias};
    if (BIAS) channel_values<1>(b, numbers, walk);
    Counts counts;
    for (;;) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            if (batch.at[u] < 0) continue;
            write(y + batch.at[u], forward(batch.x[u], batch.residual[u], b[0], dropout, batch.at[u], counts));
        }
        if (!walk.more()) break;
        batch.load(walk, x, residual);
    }
    if (LAYOUT == 0) {
        // What VECTOR leaves: fewer elements than a vector has.
        const i64 count = outer * channels * length, rest = count / VECTOR * VECTOR + global_thread();
        if (rest < count) {
            Vec<T, 1> v{x[rest]}, r{};
            if (RESIDUAL) r[0] = residual[rest];
            y[rest] = forward(v, r, b[0], dropout, rest, counts)[0];
        }
    }
    if (COUNTS && channel_sums(counts.sums, walk, partial, counters)) {
#pragma unroll
        for (int c = 0; c < kOwn; ++c) {
            positive[walk.channel + c] = counts.sums[0][c];
            nonfinite[walk.channel + c] = counts.sums[1][c];
        }
    }
}
