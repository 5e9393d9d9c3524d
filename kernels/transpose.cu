// Swaps the two inner axes of [batch, rows, columns]: out[b, c, r] = in[b, r, c]. NCHW to NHWC and back are of this form.
//
// Layout: contiguous. Mapping: blocks of 32 x 8 threads take tiles of 32 x 32 elements through shared memory, grid-stride over all
// tiles, so that both sides are accessed in whole lines; a row of the tile has one element more, so that no bank is hit twice.
// Bytes per element: 2 T, no arithmetic.
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif

using namespace gpuengine;

using T = DTYPE;

constexpr int kTile = 32, kStep = 8;

extern "C" __global__ void __launch_bounds__(kTile * kStep) transpose(T* out, const T* in, i64 batch, i64 rows, i64 columns) {
    __shared__ T tile[kTile][kTile + 1];
    const i64 down = ceil_div<i64>(rows, kTile), across = ceil_div<i64>(columns, kTile), tiles = batch * down * across;
    const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
    for (i64 index = blockIdx.x; index < tiles; index += gridDim.x) {
        const i64 column = index % across * kTile, row = index / across % down * kTile, base = index / across / down * rows * columns;
#pragma unroll
        for (int j = 0; j < kTile; j += kStep) {
            if (row + y + j < rows && column + x < columns) tile[y + j][x] = in[base + (row + y + j) * columns + column + x];
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < kTile; j += kStep) {
            if (column + y + j < columns && row + x < rows) out[base + (column + y + j) * rows + row + x] = tile[x][y + j];
        }
        __syncthreads();
    }
}
