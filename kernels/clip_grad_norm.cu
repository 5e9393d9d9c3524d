// The global 2-norm of gradients and the factor that clips it, without a round trip through the host.
//
//   norm = sqrt(sum g^2),  factor = min(1, MAX_NORM / (norm + 1e-6)), or if INCLUSIVE norm < MAX_NORM ? 1 : MAX_NORM / norm
//   finite = norm is neither infinite nor NaN
//
//   clip_grad_norm_sum      sum of squares of one gradient, one partial sum per block
//   clip_grad_norm_finish   adds the partial sums of all gradients in order, writes norm, factor and flag
//
// Layout: contiguous. Mapping: one 16-byte vector per thread, grid-stride, fixed number of blocks per size, tree over the block.
// Bytes per element: T, read once. Squares are added in f64, in an order that depends on the shapes alone.
#include "common/math.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef MAX_NORM
#define MAX_NORM 1.0f
#endif
#ifndef INCLUSIVE
#define INCLUSIVE 0
#endif

using namespace gpuengine;

using T = DTYPE;

DEVICE double square(T x) {
    const double v = to_float(x);
    return v * v;
}

extern "C" __global__ void __launch_bounds__(256) clip_grad_norm_sum(double* partial, const T* grad, i64 count) {
    const i64 vectors = count / VECTOR;
    double sum = 0.0;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        const auto v = load<VECTOR>(grad + i * VECTOR);
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum += square(v[e]);
    }
    for (i64 i = vectors * VECTOR + global_thread(); i < count; i += global_threads()) sum += square(grad[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(256) clip_grad_norm_finish(
    float* norm, float* factor, u8* finite, const double* partial, i64 partials) {
    double sum = 0.0;
    for (i64 i = threadIdx.x; i < partials; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x != 0) return;
    const float n = static_cast<float>(sqrt(sum));
    const float scale = INCLUSIVE ? MAX_NORM / n : MAX_NORM / (n + 1e-6f);
    norm[0] = n;
    // NaN stays NaN, so that a skipped check does not go unnoticed.
    factor[0] = INCLUSIVE ? (n < MAX_NORM ? 1.0f : scale) : (scale > 1.0f ? 1.0f : scale);
    finite[0] = fabsf(n) < infinity() ? 1 : 0;
}
