// Element-wise activations and their relatives with learned slopes.
//
//   activation_forward    y = f(x)                          2 T per element moved (T = bytes of the storage type)
//   activation_backward   dx = dy f'(x)                     3 T
//   prelu_forward         y = x > 0 ? x : w[c] x            2 T
//   prelu_backward        dx = x > 0 ? dy : w[c] dy         3 T; dw[c] = sum of dy x over x <= 0
//   srelu_forward         three pieces, see SRelu.cs        2 T
//   srelu_backward        dx and the gradients of t_r, a_r, t_l, a_l     3 T
//   maxout_forward        y = max over PIECES neighbouring channels      T (1 + 1 / PIECES)
//   maxout_backward       dx = dy at the first maximum, else 0           T (2 + 1 / PIECES)
//
// Layout: contiguous; x [N, C, length] where a channel matters, each channel's places side by side.
// Mapping: element-wise kernels one 16-byte vector per thread, grid-stride. Gradients of parameters: one block per channel
// (per tensor with one weight), threads along its elements, then a tree over the block: the order depends on shapes alone.
// Arithmetic and sums in f32.
#include "common/activations.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PIECES
#define PIECES 2
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(PIECES >= 1, "a group has a channel");

using F = CompiledActivation;

extern "C" __global__ void __launch_bounds__(256) activation_forward(T* y, const T* x, i64 count) {
    const i64 vectors = count / VECTOR;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        auto v = to_float(load<VECTOR>(x + i * VECTOR));
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) v[e] = F::forward(v[e]);
        store(y + i * VECTOR, from_float<T>(v));
    }
    for (i64 i = vectors * VECTOR + global_thread(); i < count; i += global_threads()) y[i] = from_float<T>(F::forward(to_float(x[i])));
}

extern "C" __global__ void __launch_bounds__(256) activation_backward(T* dx, const T* dy, const T* x, i64 count) {
    const i64 vectors = count / VECTOR;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        auto g = to_float(load<VECTOR>(dy + i * VECTOR));
        const auto v = to_float(load<VECTOR>(x + i * VECTOR));
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) g[e] *= F::derivative(v[e]);
        store(dx + i * VECTOR, from_float<T>(g));
    }
    for (i64 i = vectors * VECTOR + global_thread(); i < count; i += global_threads())
        dx[i] = from_float<T>(to_float(dy[i]) * F::derivative(to_float(x[i])));
}

// The channel of an element; one channel for all when channels is 1.
DEVICE i64 channel_of(i64 i, i64 channels, i64 length) { return channels == 1 ? 0 : i / length % channels; }

extern "C" __global__ void __launch_bounds__(256) prelu_forward(T* y, const T* x, const T* weight, i64 count, i64 channels, i64 length) {
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const float v = to_float(x[i]);
        y[i] = v > 0.0f ? x[i] : from_float<T>(v * to_float(weight[channel_of(i, channels, length)]));
    }
}

extern "C" __global__ void __launch_bounds__(256) prelu_backward(
    T* dx, T* dweight, const T* dy, const T* x, const T* weight, i64 count, i64 channels, i64 length) {
    const i64 c = blockIdx.x, values = count / channels;
    const float w = to_float(weight[c]);
    float sum = 0.0f;
    for (i64 k = threadIdx.x; k < values; k += blockDim.x) {
        const i64 i = channels == 1 ? k : (k / length * channels + c) * length + k % length;
        const float g = to_float(dy[i]), v = to_float(x[i]);
        const bool positive = v > 0.0f;
        dx[i] = from_float<T>(positive ? g : g * w);
        if (!positive) sum += g * v;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dweight[c] = from_float<T>(sum);
}

struct SRelu {
    float t_r, a_r, t_l, a_l;
    DEVICE bool right(float x) const { return x >= t_r; }
    DEVICE bool left(float x) const { return x <= t_l && !right(x); }
};

extern "C" __global__ void __launch_bounds__(256) srelu_forward(
    T* y, const T* x, const T* t_r, const T* a_r, const T* t_l, const T* a_l, i64 count, i64 channels, i64 length) {
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const i64 c = channel_of(i, channels, length);
        const SRelu s{to_float(t_r[c]), to_float(a_r[c]), to_float(t_l[c]), to_float(a_l[c])};
        const float v = to_float(x[i]);
        y[i] = from_float<T>(s.right(v) ? s.t_r + s.a_r * (v - s.t_r) : s.left(v) ? s.t_l + s.a_l * (v - s.t_l) : v);
    }
}

extern "C" __global__ void __launch_bounds__(256) srelu_backward(
    T* dx, T* dt_r, T* da_r, T* dt_l, T* da_l, const T* dy, const T* x, const T* t_r, const T* a_r, const T* t_l, const T* a_l, i64 count,
    i64 channels, i64 length) {
    const i64 c = blockIdx.x, values = count / channels;
    const SRelu s{to_float(t_r[c]), to_float(a_r[c]), to_float(t_l[c]), to_float(a_l[c])};
    // Over the right and left pieces: the sum of dy, and of dy (x - t).
    float right = 0.0f, right_x = 0.0f, left = 0.0f, left_x = 0.0f;
    for (i64 k = threadIdx.x; k < values; k += blockDim.x) {
        const i64 i = channels == 1 ? k : (k / length * channels + c) * length + k % length;
        const float g = to_float(dy[i]), v = to_float(x[i]);
        float slope = 1.0f;
        if (s.right(v)) {
            slope = s.a_r;
            right += g * (1.0f - s.a_r);
            right_x += g * (v - s.t_r);
        } else if (s.left(v)) {
            slope = s.a_l;
            left += g * (1.0f - s.a_l);
            left_x += g * (v - s.t_l);
        }
        dx[i] = from_float<T>(g * slope);
    }
    right = block_sum(right);
    right_x = block_sum(right_x);
    left = block_sum(left);
    left_x = block_sum(left_x);
    if (threadIdx.x == 0) {
        dt_r[c] = from_float<T>(right);
        da_r[c] = from_float<T>(right_x);
        dt_l[c] = from_float<T>(left);
        da_l[c] = from_float<T>(left_x);
    }
}

// The first maximum of a group; NaN counts as the largest.
DEVICE int first_maximum(const T* group, i64 length, T& best) {
    int place = 0;
    best = group[0];
#pragma unroll
    for (int j = 1; j < PIECES; ++j) {
        const T other = group[j * length];
        const float a = to_float(best), b = to_float(other);
        if (a == a && !(b <= a)) {
            best = other;
            place = j;
        }
    }
    return place;
}

// x [outer, C PIECES, length], y [outer, C, length]; count is that of y.
extern "C" __global__ void __launch_bounds__(256) maxout_forward(T* y, const T* x, i64 count, i64 length) {
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        T best;
        first_maximum(x + i / length * length * PIECES + i % length, length, best);
        y[i] = best;
    }
}

extern "C" __global__ void __launch_bounds__(256) maxout_backward(T* dx, const T* dy, const T* x, i64 count, i64 length) {
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const i64 first = i / length * length * PIECES + i % length;
        T best;
        const int place = first_maximum(x + first, length, best);
#pragma unroll
        for (int j = 0; j < PIECES; ++j) dx[first + j * length] = j == place ? dy[i] : from_float<T>(0.0f);
    }
}
