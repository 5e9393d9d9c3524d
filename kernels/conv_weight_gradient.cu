// The weight gradient of convolutions with windows of 3 x 3, step 1, channels first:
//
//   dw[k, c, r, s] = sum over n, p, q of dy[n, k, p, q] x[n, c, p - pad + r, q - pad + s]
//
// for few channels (16 to 64) over many positions, where a product of matrices has too few results to fill a device. The sum is split over
// blocks: each takes a tile of 2 K_PAIRS filters by 2 C_PAIRS channels and a share of all bands of BAND rows, whose x (with its border, zeros
// outside) and dy it holds in shared memory. A thread has 2 x 2 pairs of filter and channel with their nine taps in 36 registers; for four
// positions of a row it reads 2 vectors of dy and, for each of 2 channels and 3 rows, 6 values of x: 144 multiply-adds for 14 reads of
// shared memory. Planes lie 4 banks apart, so that the 8 addresses of a warp's read cover all banks once. Where a tile has fewer pairs
// than the block has threads, slices of threads share the rows and are added up in their order. Parts [split, k, c, 3, 3] are added by
// sum_parts of im2col.cu in the order of the splits: the bits depend on the extents and the number of splits alone.
// Bytes: x (times 1 + 2 / BAND) once per tile of filters, dy once per tile of channels, parts. Registers, by hand: 36 + 8 + 6 and a
// dozen addresses, below 64; 3 blocks per multiprocessor. Sums in f32.
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef C_PAIRS
#define C_PAIRS 8
#define K_PAIRS 8
#define BAND 8
#define COLUMNS 32
#endif
#ifndef PAD_H
#define PAD_H 1
#define PAD_W 1
#endif

using namespace gpuengine;

using T = DTYPE;

constexpr int kThreads = 256, kTaps = 9;
constexpr int kChannels = 2 * C_PAIRS, kFilters = 2 * K_PAIRS, kPairs = C_PAIRS * K_PAIRS, kSlices = kThreads / kPairs;
// A row of x with the two columns that the last vector of positions reaches beyond its end.
constexpr int kRow = COLUMNS + 4;

static_assert(kThreads % kPairs == 0 && COLUMNS % 4 == 0, "whole slices, whole vectors");

// Floats from plane to plane: 4 banks further.
constexpr int plane_stride(int floats) { return floats + (36 - floats % 32) % 32; }
constexpr int kPlaneX = plane_stride((BAND + 2) * kRow), kPlaneY = plane_stride(BAND * COLUMNS);
constexpr int kTile = kChannels * kPlaneX + kFilters * kPlaneY, kSums = kSlices > 1 ? kTaps * kThreads : 0;

extern "C" __global__ void __launch_bounds__(256, 3) conv_weight_gradient(
    float* parts, const T* dy, const T* x, i64 images, i64 channels, i64 height, i64 width, i64 filters, i64 rows, i64 columns,
    i64 splits) {
    __shared__ __align__(16) float shared[kTile > kSums ? kTile : kSums];
    float* const xs = shared;
    float* const ys = shared + kChannels * kPlaneX;
    const int thread = thread_rank();
    const int pair = thread % kPairs, slice = thread / kPairs;
    // Eight channels by four filters in a warp where there are as many.
    const int cp = C_PAIRS == 16 ? pair % 8 + pair / 32 % 2 * 8 : pair % C_PAIRS;
    const int kp = C_PAIRS == 16 ? pair / 8 % 4 + pair / 64 * 4 : pair / C_PAIRS;
    const i64 split = blockIdx.x % splits, tile = blockIdx.x / splits, tiles_c = ceil_div(channels, static_cast<i64>(kChannels));
    const i64 c0 = tile % tiles_c * kChannels, k0 = tile / tiles_c * kFilters;
    const i64 bands = ceil_div(rows, static_cast<i64>(BAND)), items = images * bands;

    float sums[2][2][kTaps];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
#pragma unroll
            for (int tap = 0; tap < kTaps; ++tap) sums[k][c][tap] = 0.0f;
        }
    }

    for (i64 item = split * items / splits; item < (split + 1) * items / splits; ++item) {
        const i64 n = item / bands;
        const i32 p0 = static_cast<i32>(item % bands) * BAND;
#pragma unroll 4
        for (int i = thread; i < kChannels * (BAND + 2) * kRow; i += kThreads) {
            const int column = i % kRow, row = i / kRow % (BAND + 2), c = i / (kRow * (BAND + 2));
            const i64 h = p0 + row - PAD_H, w = column - PAD_W;
            const bool inside = c0 + c < channels && h >= 0 && h < height && w >= 0 && w < width;
            xs[c * kPlaneX + row * kRow + column] = inside ? to_float(x[((n * channels + c0 + c) * height + h) * width + w]) : 0.0f;
        }
#pragma unroll 4
        for (int i = thread; i < kFilters * BAND * COLUMNS; i += kThreads) {
            const int q = i % COLUMNS, p = i / COLUMNS % BAND, k = i / (COLUMNS * BAND);
            const bool inside = k0 + k < filters && p0 + p < rows && q < columns;
            ys[k * kPlaneY + p * COLUMNS + q] = inside ? to_float(dy[((n * filters + k0 + k) * rows + p0 + p) * columns + q]) : 0.0f;
        }
        __syncthreads();
        for (int p = slice; p < BAND; p += kSlices) {
#pragma unroll 1
            for (int q = 0; q < COLUMNS; q += 4) {
                Vec<float, 4> gradient[2];
#pragma unroll
                for (int k = 0; k < 2; ++k) gradient[k] = load<4>(ys + (kp + k * K_PAIRS) * kPlaneY + p * COLUMNS + q);
#pragma unroll
                for (int c = 0; c < 2; ++c) {
#pragma unroll
                    for (int r = 0; r < 3; ++r) {
                        const float* const from = xs + (cp + c * C_PAIRS) * kPlaneX + (p + r) * kRow + q;
                        const Vec<float, 4> a = load<4>(from);
                        const Vec<float, 2> b = load<2>(from + 4);
                        const float values[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
#pragma unroll
                        for (int k = 0; k < 2; ++k) {
#pragma unroll
                            for (int s = 0; s < 3; ++s) {
#pragma unroll
                                for (int e = 0; e < 4; ++e) sums[k][c][r * 3 + s] += gradient[k][e] * values[e + s];
                            }
                        }
                    }
                }
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
            if (kSlices > 1) {
#pragma unroll
                for (int tap = 0; tap < kTaps; ++tap) shared[tap * kThreads + thread] = sums[k][c][tap];
                __syncthreads();
                for (int other = 1; slice == 0 && other < kSlices; ++other) {
#pragma unroll
                    for (int tap = 0; tap < kTaps; ++tap) sums[k][c][tap] += shared[tap * kThreads + other * kPairs + pair];
                }
                __syncthreads();
            }
            const i64 filter = k0 + kp + k * K_PAIRS, channel = c0 + cp + c * C_PAIRS;
            if (slice == 0 && filter < filters && channel < channels) {
                float* const to = parts + ((split * filters + filter) * channels + channel) * kTaps;
#pragma unroll
                for (int tap = 0; tap < kTaps; ++tap) to[tap] = sums[k][c][tap];
            }
        }
    }
}
