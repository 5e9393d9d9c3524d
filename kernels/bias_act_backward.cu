// bias_act backward: dx = m dy f'(x + bias) and dbias = the sum of dx per channel, in one launch. m is 1 / (1 - p) where dropout
// kept the element, else 0: drawn again, never stored. The gradient of a residual is dy itself. ADDS: dx + added is stored, added
// being what came to x on another path (a skip connection); dbias is without it.
//
//   bias_act_backward_naive   one block per channel (flat: one block per 256 elements at a time), one element per access, Philox
//                             for one word in four; also the second oracle
//   bias_act_backward         16 bytes per access, each tensor read once
//
// `value` is x, or the output y behind relu and leaky relu, whose slopes follow from it (FROM_OUTPUT is then no matter of the
// kernel: no bias is added, and behind relu no mask is drawn, because what was dropped is 0 in y as well).
// Layout: dy, value, dx [outer, channels, length] contiguous. Mapping: common/walk.cuh; flat where nothing belongs to a channel.
// Bytes per element (T = bytes of the storage type): 3 T, 2 T without activation, T more with ADDS. Besides, per block: its channels' biases once
// (planes: per warp), 16 bytes per warp for the generator; SUMS with more than one piece: 8 bytes per channel and piece.
// Live registers: UNROLL vectors of two tensors (4 each), kOwn biases and sums, 12 of the walk, 14 of Philox, some 12 of erf: at
// UNROLL 2 about 50 in f32 and 62 in bf16, so that 1024 threads are resident with 64 bytes each in flight.
// Sums in f32 of dx before it is rounded; their order depends on the shape and the pieces (walk.cuh), not on the device.
// dy and dx may be one tensor: every element is read and written by one thread.
#include "common/activations.cuh"
#include "common/dropout.cuh"
#include "common/walk.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef ADD_BIAS  // value is x, and the activation's input x + bias
#define ADD_BIAS 0
#endif
#ifndef ADDS
#define ADDS 0
#endif
#ifndef SUMS  // dbias is asked for
#define SUMS 0
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(LAYOUT != 0 || (!ADD_BIAS && !SUMS), "channels need columns or planes");

using F = CompiledActivation;

// dx in f32.
template <int N>
DEVICE Vec<float, N> backward(const Vec<T, N>& dy, const Vec<T, N>& value, const Vec<float, kOwn>& bias,
                              const Dropout& dropout, i64 at) {
    auto g = to_float(dy);
    dropout.apply(g, at);
    if (kHasActivation) {
#pragma unroll
        for (int e = 0; e < N; ++e) {
            const float x = to_float(value[e]);
            g[e] *= F::derivative(ADD_BIAS ? x + bias[own_channel(e)] : x);
        }
    }
    return g;
}

extern "C" __global__ void __launch_bounds__(256)
    bias_act_backward_naive(T* dx, T* dbias, const T* dy, const T* value, const T* bias, const T* added,
                            const i64* state, i64 outer, i64 channels, i64 length) {
    const Dropout dropout(state);
    const bool flat = !ADD_BIAS && !SUMS;
    const i64 channel = flat ? 0 : blockIdx.x, values = flat ? outer * channels * length : outer * length;
    const float b = ADD_BIAS ? to_float(bias[channel]) : 0.0f;
    float sum = 0.0f;
    for (i64 k = flat ? global_thread() : threadIdx.x; k < values; k += flat ? global_threads() : blockDim.x) {
        const i64 i = flat ? k : (k / length * channels + channel) * length + k % length;
        Vec<float, 1> g;
        g[0] = to_float(dy[i]);
        dropout.apply(g, i);
        if (kHasActivation) g[0] *= F::derivative(ADD_BIAS ? to_float(value[i]) + b : to_float(value[i]));
        dx[i] = from_float<T>(ADDS ? g[0] + to_float(added[i]) : g[0]);
        sum += g[0];
    }
    if (!SUMS) return;
    sum = block_sum(sum);
    if (threadIdx.x == 0) dbias[channel] = from_float<T>(sum);
}

struct Batch {
    i64 at[UNROLL];
    Vec<T, VECTOR> dy[UNROLL], value[UNROLL], added[UNROLL];

    DEVICE void load(Walk& walk, const T* all_dy, const T* all_value, const T* all_added) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            at[u] = walk.next();
            if (at[u] < 0) continue;
            dy[u] = read(all_dy + at[u]);
            if (kHasActivation) value[u] = read(all_value + at[u]);
            if (ADDS) added[u] = read(all_added + at[u]);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    bias_act_backward(T* dx, T* dbias, float* partial, u32* counters, const T* dy, const T* value, const T* bias,
                      const T* added, const i64* state, i64 outer, i64 channels, i64 length, i64 piece) {
    Walk walk(outer, channels, length, piece);
    Batch batch;
    batch.load(walk, dy, value, added);
    const Dropout dropout(state);
    Vec<float, kOwn> b[1] = {};
    const T* const numbers[1] = {bias};
    if (ADD_BIAS) channel_values<1>(b, numbers, walk);
    float sums[1][kOwn] = {};
    for (;;) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            if (batch.at[u] < 0) continue;
            auto d = backward(batch.dy[u], batch.value[u], b[0], dropout, batch.at[u]);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                if (SUMS) sums[0][own_channel(e)] += d[e];
                if (ADDS) d[e] += to_float(batch.added[u][e]);
            }
            write(dx + batch.at[u], from_float<T>(d));
        }
        if (!walk.more()) break;
        batch.load(walk, dy, value, added);
    }
    if (LAYOUT == 0) {
        // What VECTOR leaves: fewer elements than a vector has.
        const i64 count = outer * channels * length, rest = count / VECTOR * VECTOR + global_thread();
        if (rest < count) {
            Vec<T, 1> d{dy[rest]}, v{};
            if (kHasActivation) v[0] = value[rest];
            const float g = backward(d, v, b[0], dropout, rest)[0];
            dx[rest] = from_float<T>(ADDS ? g + to_float(added[rest]) : g);
        }
    }
    if (SUMS && channel_sums(sums, walk, partial, counters)) {
#pragma unroll
        for (int c = 0; c < kOwn; ++c) dbias[walk.channel + c] = from_float<T>(sums[0][c]);
    }
}
