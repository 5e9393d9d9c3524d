// Batch normalisation forward: x, y [N, C, length], statistics over N and length for each channel c.
//
//   z = (x - mean) invstd weight + bias + residual,  y = activation(z),  invstd = 1 / sqrt(var + eps), var biased
//   running = (1 - momentum) running + momentum batch; the running variance takes m / (m - 1) var if UNBIASED
//
//   batch_norm_naive        one block per channel, scalar accesses: the second oracle, any shape
//   batch_norm_forward      one block per slice of channels; the last HELD positions of each thread stay in registers, so x is
//                           read once where N (length) <= lanes HELD, else the earlier part twice
//   batch_norm_statistics   slices x pieces blocks; moments of pieces, merged in order by the last block that ends
//   batch_norm_apply        y from given statistics, one vector per thread and step
//
// Bytes per element (T = bytes of the storage type): forward 2 T (+ T residual), statistics T, apply 2 T (+ T).
// Mapping: see common/channels.cuh. Statistics in f32: each thread takes the mean and the squared deviations of HELD positions at
// a time from registers (two passes, nothing cancels), chunks, threads and pieces are merged by Chan's formula in a fixed order.
#include "common/activations.cuh"
#include "common/channels.cuh"
#include "common/grid.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef HELD
#define HELD 8
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef RESIDUAL
#define RESIDUAL 0
#endif
#ifndef RUNNING
#define RUNNING 1
#endif
#ifndef TRAINING
#define TRAINING 1
#endif
#ifndef UNBIASED
#define UNBIASED 1
#endif
#ifndef MOMENTUM
#define MOMENTUM 0.1f
#endif
#ifndef EPS
#define EPS 1e-5f
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(HELD >= 1, "a chunk has a position");

using Vector = Vec<T, VECTOR>;

// What one channel does to its elements.
struct Transform {
    float mean, invstd, weight, bias;
    DEVICE void load(const P* w, const P* b, i64 c) {
        mean = invstd = 0.0f;  // until they are known
        weight = AFFINE ? to_float(w[c]) : 1.0f;
        bias = AFFINE ? to_float(b[c]) : 0.0f;
    }
    DEVICE float operator()(float x, float residual) const {
        float z = (x - mean) * invstd;
        if (AFFINE) z = z * weight + bias;
        if (RESIDUAL) z += residual;
        return CompiledActivation::forward(z);
    }
};

// The statistics of a channel as they leave the kernel.
DEVICE void write_statistics(float* mean, float* invstd, float* new_mean, float* new_var, const float* running_mean,
                             const float* running_var, i64 c, const Moments<>& m) {
    mean[c] = m.mean;
    invstd[c] = 1.0f / sqrtf(m.variance() + EPS);
    if (RUNNING) {
        new_mean[c] = (1.0f - MOMENTUM) * running_mean[c] + MOMENTUM * m.mean;
        new_var[c] = (1.0f - MOMENTUM) * running_var[c] + MOMENTUM * (UNBIASED ? m.unbiased_variance() : m.variance());
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_naive(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, const P* bias,
    const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length) {
    const i64 c = blockIdx.x, values = batch * length;
    Moments<> m = Moments<>::empty();
    for (i64 k = threadIdx.x; k < values; k += THREADS) m.add(to_float(x[(k / length * channels + c) * length + k % length]));
    m = block_moments(m);
    Transform f;
    f.load(weight, bias, c);
    f.mean = m.mean;
    f.invstd = 1.0f / sqrtf(m.variance() + EPS);
    for (i64 k = threadIdx.x; k < values; k += THREADS) {
        const i64 i = (k / length * channels + c) * length + k % length;
        y[i] = from_float<T>(f(to_float(x[i]), RESIDUAL ? to_float(residual[i]) : 0.0f));
    }
    if (threadIdx.x == 0) write_statistics(mean, invstd, new_mean, new_var, running_mean, running_var, c, m);
}

// The moments of a thread's positions in [begin, end); those of the last chunk stay in `held`.
DEVICE void thread_moments(const Slice& slice, const T* x, i64 begin, i64 end, Vector (&held)[HELD], Moments<> (&m)[kThreadChannels]) {
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) m[c] = Moments<>::empty();
    if (!slice.valid) return;
    for (i64 chunk = begin; chunk < end; chunk += static_cast<i64>(HELD) * kLanes) {
        float sum[kThreadChannels] = {}, squares[kThreadChannels] = {}, count = 0.0f;
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i64 position = chunk + slice.lane + static_cast<i64>(h) * kLanes;
            if (position >= end) continue;
            held[h] = load<VECTOR>(x + slice.offset(position));
            count += PLANES ? VECTOR : 1;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) sum[channel_of_element(e)] += to_float(held[h][e]);
        }
        if (count == 0.0f) continue;
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) sum[c] /= count;
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (chunk + slice.lane + static_cast<i64>(h) * kLanes >= end) continue;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float d = to_float(held[h][e]) - sum[channel_of_element(e)];
                squares[channel_of_element(e)] += d * d;
            }
        }
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) m[c] = merge(m[c], Moments<>{count, sum[c], squares[c]});
    }
}

DEVICE void apply(T* y, const Transform (&f)[kThreadChannels], const Vector& v, const T* residual, i64 offset) {
    Vector r, out;
    if (RESIDUAL) r = load<VECTOR>(residual + offset);
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) out[e] = from_float<T>(f[channel_of_element(e)](to_float(v[e]), RESIDUAL ? to_float(r[e]) : 0.0f));
    store(y + offset, out);
}

extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_forward(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, const P* bias,
    const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length) {
    const Slice slice(batch, channels, length);
    __shared__ Transform shared[kSliceChannels];
    if (slice.leads()) {  // on their way while the statistics are made
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) shared[slice.local(c)].load(weight, bias, slice.first + c);
    }
    Vector held[HELD];
    Moments<> m[kThreadChannels];
    thread_moments(slice, x, 0, slice.positions, held, m);
    slice_reduce(m, Merge());
    if (!slice.valid) return;
    Transform f[kThreadChannels];
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) {
        f[c] = shared[slice.local(c)];
        f[c].mean = m[c].mean;
        f[c].invstd = 1.0f / sqrtf(m[c].variance() + EPS);
        if (slice.leads()) write_statistics(mean, invstd, new_mean, new_var, running_mean, running_var, slice.first + c, m[c]);
    }
    const i64 chunk = static_cast<i64>(HELD) * kLanes, last = (slice.positions - 1) / chunk * chunk;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i64 position = last + slice.lane + static_cast<i64>(h) * kLanes;
        if (position < slice.positions) apply(y, f, held[h], residual, slice.offset(position));
    }
    for (i64 position = slice.lane; position < last; position += kLanes) {
        const i64 offset = slice.offset(position);
        apply(y, f, load<VECTOR>(x + offset), residual, offset);
    }
}

// Block (s, p) has positions [p piece, (p + 1) piece) of slice s. `partial` holds 3 floats per piece and channel.
extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_statistics(
    float* mean, float* invstd, float* new_mean, float* new_var, float* partial, u32* counter, const T* x, const float* running_mean,
    const float* running_var, i64 batch, i64 channels, i64 length, i64 piece) {
    const Slice slice(batch, channels, length);
    const i64 begin = blockIdx.y * piece;
    Vector held[HELD];
    Moments<> m[kThreadChannels];
    thread_moments(slice, x, begin, min(begin + piece, slice.positions), held, m);
    slice_reduce(m, Merge());
    float* const mine = partial + blockIdx.y * channels * 3;
    if (slice.leads()) {
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) {
            const i64 at = slice.first + c;
            mine[at] = m[c].count;
            mine[channels + at] = m[c].mean;
            mine[2 * channels + at] = m[c].m2;
        }
    }
    if (!is_last_block(counter)) return;
    for (i64 c = threadIdx.x; c < channels; c += THREADS) {
        Moments<> total = Moments<>::empty();
        for (u32 p = 0; p < gridDim.y; ++p) {
            const float* const from = partial + p * channels * 3 + c;
            total = merge(total, Moments<>{from[0], from[channels], from[2 * channels]});
        }
        write_statistics(mean, invstd, new_mean, new_var, running_mean, running_var, c, total);
    }
}

// In evaluation (TRAINING 0) the running statistics are used, and handed on by the first piece of each slice.
extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_apply(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, const P* bias,
    const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length, i64 piece) {
    const Slice slice(batch, channels, length);
    __shared__ Transform shared[kSliceChannels];
    for (int c = 0; slice.leads() && c < kThreadChannels; ++c) {
        const i64 at = slice.first + c;
        Transform& f = shared[slice.local(c)];
        f.load(weight, bias, at);
        const float variance = TRAINING ? 0.0f : running_var[at];
        f.mean = TRAINING ? mean[at] : running_mean[at];
        f.invstd = TRAINING ? invstd[at] : 1.0f / sqrtf(variance + EPS);
        if (!TRAINING && blockIdx.y == 0) {
            mean[at] = f.mean;
            invstd[at] = f.invstd;
            if (RUNNING) {
                new_mean[at] = f.mean;
                new_var[at] = variance;
            }
        }
    }
    __syncthreads();
    if (!slice.valid) return;
    Transform f[kThreadChannels];
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) f[c] = shared[slice.local(c)];
    const i64 begin = blockIdx.y * piece, end = min(begin + piece, slice.positions);
    for (i64 position = begin + slice.lane; position < end; position += kLanes) {
        const i64 offset = slice.offset(position);
        apply(y, f, load<VECTOR>(x + offset), residual, offset);
    }
}
