// Activations with learned numbers per channel: prelu and srelu, forward and backward, the gradients of the numbers in one pass
// with dx.
//
//   prelu   y = x > 0 ? x : w x                  dx = x > 0 ? dy : w dy;  dw = sum of dy x over x <= 0
//   srelu   y = x >= t_r ? t_r + a_r (x - t_r) : x <= t_l ? t_l + a_l (x - t_l) : x
//           dx = a dy on the outer pieces, dy between;  dt = sum of dy (1 - a),  da = sum of dy (x - t), each over its piece
//
//   ..._backward_naive   one block per channel, one element per access; also the second oracle
//   ..._forward, ..._backward   16 bytes per access, each tensor read once
//
// Layout: x, y, dy, dx [outer, channels, length] contiguous, numbers [channels]; one weight for all is one channel. Mapping:
// common/walk.cuh, along channels.
// Bytes per element (T = bytes of the storage type): 2 T forward, 3 T backward. Besides: each block its channel's numbers once
// (planes: per warp); backward with more than one piece 8 bytes per number, channel and piece.
// Live registers: UNROLL vectors of up to two tensors (4 each), numbers and sums of the thread's channels (srelu on columns of
// bf16: 64, which is why its launcher takes vectors of 4 there), 12 of the walk. Arithmetic and sums in f32.
// x and y, dy and dx may be one tensor.
#include "common/walk.cuh"

#ifndef DTYPE
#define DTYPE float
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(LAYOUT != 0, "numbers belong to channels");

struct PRelu {
    static constexpr int kNumbers = 1;
    DEVICE static float forward(float x, const float (&p)[1]) { return x > 0.0f ? x : x * p[0]; }
    DEVICE static float backward(float dy, float x, const float (&p)[1], float (&gradients)[1]) {
        gradients[0] = x > 0.0f ? 0.0f : dy * x;
        return x > 0.0f ? dy : dy * p[0];
    }
};

// The numbers in the op's order: t_r, a_r, t_l, a_l. Where t_l exceeds t_r the right piece wins.
struct SRelu {
    static constexpr int kNumbers = 4;
    DEVICE static float forward(float x, const float (&p)[4]) {
        return x >= p[0] ? p[0] + p[1] * (x - p[0]) : x <= p[2] ? p[2] + p[3] * (x - p[2]) : x;
    }
    DEVICE static float backward(float dy, float x, const float (&p)[4], float (&gradients)[4]) {
        const bool right = x >= p[0], left = x <= p[2] && !right;
        gradients[0] = right ? dy * (1.0f - p[1]) : 0.0f;
        gradients[1] = right ? dy * (x - p[0]) : 0.0f;
        gradients[2] = left ? dy * (1.0f - p[3]) : 0.0f;
        gradients[3] = left ? dy * (x - p[2]) : 0.0f;
        return right ? dy * p[1] : left ? dy * p[3] : dy;
    }
};

template <int K>
struct Numbers {
    Vec<float, kOwn> values[K];

    // Those of element e of a vector.
    DEVICE void of(int e, float (&p)[K]) const {
#pragma unroll
        for (int k = 0; k < K; ++k) p[k] = values[k][own_channel(e)];
    }
};

template <bool Backward>
struct Batch {
    i64 at[UNROLL];
    Vec<T, VECTOR> x[UNROLL], dy[UNROLL];

    DEVICE void load(Walk& walk, const T* all_x, const T* all_dy) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            at[u] = walk.next();
            if (at[u] < 0) continue;
            x[u] = read(all_x + at[u]);
            if (Backward) dy[u] = read(all_dy + at[u]);
        }
    }
};

template <class F>
DEVICE void run_forward(T* y, const T* x, const T* const (&numbers)[F::kNumbers], i64 outer, i64 channels, i64 length,
                        i64 piece) {
    Walk walk(outer, channels, length, piece);
    Batch<false> batch;
    batch.load(walk, x, nullptr);
    Numbers<F::kNumbers> n;
    channel_values<F::kNumbers>(n.values, numbers, walk);
    for (;;) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            if (batch.at[u] < 0) continue;
            auto v = to_float(batch.x[u]);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                float p[F::kNumbers];
                n.of(e, p);
                v[e] = F::forward(v[e], p);
            }
            write(y + batch.at[u], from_float<T>(v));
        }
        if (!walk.more()) return;
        batch.load(walk, x, nullptr);
    }
}

template <class F>
DEVICE void run_backward(T* dx, T* const (&gradients)[F::kNumbers], float* partial, u32* counters, const T* dy,
                         const T* x, const T* const (&numbers)[F::kNumbers], i64 outer, i64 channels, i64 length,
                         i64 piece) {
    constexpr int K = F::kNumbers;
    Walk walk(outer, channels, length, piece);
    Batch<true> batch;
    batch.load(walk, x, dy);
    Numbers<K> n;
    channel_values<K>(n.values, numbers, walk);
    float sums[K][kOwn] = {};
    for (;;) {
#pragma unroll
        for (int u = 0; u < UNROLL; ++u) {
            if (batch.at[u] < 0) continue;
            auto g = to_float(batch.dy[u]);
            const auto v = to_float(batch.x[u]);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                float p[K], terms[K];
                n.of(e, p);
                g[e] = F::backward(g[e], v[e], p, terms);
#pragma unroll
                for (int k = 0; k < K; ++k) sums[k][own_channel(e)] += terms[k];
            }
            write(dx + batch.at[u], from_float<T>(g));
        }
        if (!walk.more()) break;
        batch.load(walk, x, dy);
    }
    if (!channel_sums(sums, walk, partial, counters)) return;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
        for (int c = 0; c < kOwn; ++c) gradients[k][walk.channel + c] = from_float<T>(sums[k][c]);
    }
}

template <class F>
DEVICE void run_backward_naive(T* dx, T* const (&gradients)[F::kNumbers], const T* dy, const T* x,
                               const T* const (&numbers)[F::kNumbers], i64 outer, i64 channels, i64 length) {
    constexpr int K = F::kNumbers;
    const i64 channel = blockIdx.x;
    float p[K], sums[K] = {};
#pragma unroll
    for (int k = 0; k < K; ++k) p[k] = to_float(numbers[k][channel]);
    for (i64 j = threadIdx.x; j < outer * length; j += blockDim.x) {
        const i64 i = (j / length * channels + channel) * length + j % length;
        float terms[K];
        dx[i] = from_float<T>(F::backward(to_float(dy[i]), to_float(x[i]), p, terms));
#pragma unroll
        for (int k = 0; k < K; ++k) sums[k] += terms[k];
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const float sum = block_sum(sums[k]);
        if (threadIdx.x == 0) gradients[k][channel] = from_float<T>(sum);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    prelu_forward(T* y, const T* x, const T* weight, i64 outer, i64 channels, i64 length, i64 piece) {
    const T* const numbers[1] = {weight};
    run_forward<PRelu>(y, x, numbers, outer, channels, length, piece);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    prelu_backward(T* dx, T* dweight, float* partial, u32* counters, const T* dy, const T* x, const T* weight,
                   i64 outer, i64 channels, i64 length, i64 piece) {
    T* const gradients[1] = {dweight};
    const T* const numbers[1] = {weight};
    run_backward<PRelu>(dx, gradients, partial, counters, dy, x, numbers, outer, channels, length, piece);
}

extern "C" __global__ void __launch_bounds__(256)
    prelu_backward_naive(T* dx, T* dweight, const T* dy, const T* x, const T* weight, i64 outer, i64 channels,
                         i64 length) {
    T* const gradients[1] = {dweight};
    const T* const numbers[1] = {weight};
    run_backward_naive<PRelu>(dx, gradients, dy, x, numbers, outer, channels, length);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    srelu_forward(T* y, const T* x, const T* t_r, const T* a_r, const T* t_l, const T* a_l, i64 outer, i64 channels,
                  i64 length, i64 piece) {
    const T* const numbers[4] = {t_r, a_r, t_l, a_l};
    run_forward<SRelu>(y, x, numbers, outer, channels, length, piece);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    srelu_backward(T* dx, T* dt_r, T* da_r, T* dt_l, T* da_l, float* partial, u32* counters, const T* dy, const T* x,
                   const T* t_r, const T* a_r, const T* t_l, const T* a_l, i64 outer, i64 channels, i64 length,
                   i64 piece) {
    T* const gradients[4] = {dt_r, da_r, dt_l, da_l};
    const T* const numbers[4] = {t_r, a_r, t_l, a_l};
    run_backward<SRelu>(dx, gradients, partial, counters, dy, x, numbers, outer, channels, length, piece);
}

extern "C" __global__ void __launch_bounds__(256)
    srelu_backward_naive(T* dx, T* dt_r, T* da_r, T* dt_l, T* da_l, const T* dy, const T* x, const T* t_r, const T* a_r,
                         const T* t_l, const T* a_l, i64 outer, i64 channels, i64 length) {
    T* const gradients[4] = {dt_r, da_r, dt_l, da_l};
    const T* const numbers[4] = {t_r, a_r, t_l, a_l};
    run_backward_naive<SRelu>(dx, gradients, dy, x, numbers, outer, channels, length);
}
