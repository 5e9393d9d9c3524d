// group_norm and instance_norm with the channels last, the plainest way: the second oracle of group_norm_nhwc.cu and
// group_norm_nhwc_backward.cu, and what runs where channels do not fall into their slices. Formulas and layout as there.
//
//   group_norm_nhwc_naive_forward      a block per sample and group reads x three times: mean, deviations, y
//   group_norm_nhwc_naive_backward     a block per sample and group reads dy and x twice: sums, dx
//   group_norm_nhwc_naive_parameters   a block per 32 neighbouring channels, its warps side by side on samples and positions
//
// Thread t of a block has elements t, t + THREADS, ... of the group's positions times channels. Sums in f32, in a fixed order.
#include "common/activations.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef EPS
#define EPS 1e-5f
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;

// Calls use(offset, channel) for the elements of the block's group that a thread has.
template <class Use>
DEVICE void each(i64 positions, i64 channels, i64 width, Use use) {
    const i64 groups = channels / width, sample = blockIdx.x / groups, first = blockIdx.x % groups * width;
    for (i64 i = threadIdx.x; i < positions * width; i += THREADS) {
        const i64 channel = first + i % width;
        use((sample * positions + i / width) * channels + channel, channel);
    }
}

DEVICE float z_of(float xhat, const P* weight, const P* bias, i64 channel) {
    return AFFINE ? xhat * to_float(weight[channel]) + to_float(bias[channel]) : xhat;
}

extern "C" __global__ void __launch_bounds__(THREADS) group_norm_nhwc_naive_forward(
    T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 positions, i64 channels, i64 width) {
    const float share = 1.0f / static_cast<float>(positions * width), pivot = to_float(x[blockIdx.x / (channels / width) * positions * channels + blockIdx.x % (channels / width) * width]);
    float sum = 0.0f, squares = 0.0f;
    each(positions, channels, width, [&](i64 at, i64) { sum += to_float(x[at]) - pivot; });
    const float middle = pivot + block_sum(sum) * share;
    each(positions, channels, width, [&](i64 at, i64) {
        const float d = to_float(x[at]) - middle;
        squares += d * d;
    });
    const float scale = 1.0f / sqrtf(block_sum(squares) * share + EPS);
    each(positions, channels, width, [&](i64 at, i64 channel) {
        y[at] = from_float<T>(CompiledActivation::forward(z_of((to_float(x[at]) - middle) * scale, weight, bias, channel)));
    });
    if (threadIdx.x != 0) return;
    mean[blockIdx.x] = middle;
    invstd[blockIdx.x] = scale;
}

// dz of an element, and xhat.
DEVICE float gradient(float dy, float x, float mean, float scale, const P* weight, const P* bias, i64 channel, float& xhat) {
    xhat = (x - mean) * scale;
    return kHasActivation ? dy * CompiledActivation::derivative(z_of(xhat, weight, bias, channel)) : dy;
}

extern "C" __global__ void __launch_bounds__(THREADS) group_norm_nhwc_naive_backward(
    T* dx, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, i64 positions, i64 channels,
    i64 width) {
    const float middle = mean[blockIdx.x], scale = invstd[blockIdx.x], share = 1.0f / static_cast<float>(positions * width);
    float sum = 0.0f, sum_xhat = 0.0f;
    const auto g_of = [&](i64 at, i64 channel, float& xhat) {
        const float dz = gradient(to_float(dy[at]), to_float(x[at]), middle, scale, weight, bias, channel, xhat);
        return AFFINE ? dz * to_float(weight[channel]) : dz;
    };
    each(positions, channels, width, [&](i64 at, i64 channel) {
        float xhat;
        const float g = g_of(at, channel, xhat);
        sum += g;
        sum_xhat += g * xhat;
    });
    const float mean_g = block_sum(sum) * share, mean_g_xhat = block_sum(sum_xhat) * share;
    each(positions, channels, width, [&](i64 at, i64 channel) {
        float xhat;
        const float g = g_of(at, channel, xhat);
        dx[at] = from_float<T>((g - mean_g - xhat * mean_g_xhat) * scale);
    });
}

extern "C" __global__ void __launch_bounds__(THREADS) group_norm_nhwc_naive_parameters(
    float* dweight, float* dbias, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias,
    i64 batch, i64 positions, i64 channels, i64 width) {
    __shared__ float partial[2][THREADS / kWarpSize][kWarpSize];
    const i64 channel = static_cast<i64>(blockIdx.x) * kWarpSize + lane_index(), groups = channels / width;
    float sum = 0.0f, sum_xhat = 0.0f;
    for (i64 i = warp_index(); channel < channels && i < batch * positions; i += THREADS / kWarpSize) {
        const i64 row = i / positions * groups + channel / width, at = i * channels + channel;
        float xhat;
        const float dz = gradient(to_float(dy[at]), to_float(x[at]), mean[row], invstd[row], weight, bias, channel, xhat);
        sum += dz;
        sum_xhat += dz * xhat;
    }
    partial[0][warp_index()][lane_index()] = sum_xhat;
    partial[1][warp_index()][lane_index()] = sum;
    __syncthreads();
    if (warp_index() > 1 || channel >= channels) return;
    float total = 0.0f;
    for (int w = 0; w < THREADS / kWarpSize; ++w) total += partial[warp_index()][w][lane_index()];
    (warp_index() == 0 ? dweight : dbias)[channel] = total;
}
