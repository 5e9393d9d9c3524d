// The global 2-norm of gradients and the factor that clips it, without a round trip through the host.
//
//   norm = sqrt(sum g^2),  factor = min(1, MAX_NORM / (norm + 1e-6)), or if INCLUSIVE norm < MAX_NORM ? 1 : MAX_NORM / norm
//   finite = norm is neither infinite nor NaN
//
//   clip_grad_norm          of up to two gradients in one launch, the last block adds; with SEGMENTS the squares of each as well
//   clip_grad_norm_sum      naive: sum of squares of one gradient, one partial sum per block
//   clip_grad_norm_finish   naive: adds the partial sums of all gradients in order, writes norm, factor and flag
//
// Layout: contiguous. Mapping: pieces of a fixed number of elements, a block at a time; 16-byte vectors, four of a thread on their way.
// Bytes per element: T, read once. Squares are added in f64, in an order that depends on the shapes alone. Registers: about 40.
#include "common/gradient_norm.cuh"
#include "common/grid.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef DTYPE_1  // of the second gradient
#define DTYPE_1 DTYPE
#endif
#ifndef VECTORED  // whether gradients begin at multiples of 16 bytes
#define VECTORED 1
#endif

using namespace gpuengine;

using T = DTYPE;
using U = DTYPE_1;

constexpr int kThreads = 256;

// `partial` holds one f64 per piece.
extern "C" __global__ void __launch_bounds__(kThreads) clip_grad_norm(
    float* norm, float* factor, u8* finite, double* segment_squares, u8* segment_finite, double* partial, u32* counter, const T* grad0,
    const U* grad1, i64 count0, i64 count1, i64 length, i64 pieces) {
    write_piece_squares<VECTORED != 0, kThreads>(partial, grad0, grad1, count0, count1, length, pieces);
    if (!is_last_block(counter)) return;
    const NormOfGradients result = norm_of_pieces(partial, pieces);
    write_segments(segment_squares, segment_finite, partial, threadIdx.x, kThreads);
    if (threadIdx.x != 0) return;
    norm[0] = result.norm;
    factor[0] = result.factor;
    finite[0] = result.is_finite();
}

extern "C" __global__ void __launch_bounds__(kThreads) clip_grad_norm_sum(double* partial, const T* grad, i64 count) {
    double sum = 0.0;
    for (i64 i = global_thread(); i < count; i += global_threads()) sum += square_of(to_float(grad[i]));
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(kThreads) clip_grad_norm_finish(
    float* norm, float* factor, u8* finite, const double* partial, i64 partials) {
    const NormOfGradients result = norm_of_pieces(partial, partials);
    if (threadIdx.x != 0) return;
    norm[0] = result.norm;
    factor[0] = result.factor;
    finite[0] = result.is_finite();
}
