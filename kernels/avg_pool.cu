// Means over windows of images, and the gradient.
//
//   forward   y[n, p, q, c] = (sum of x over the elements of window (p, q)) / divisor(p, q)
//   backward  dx[n, h, w, c] = sum of dy[n, p, q, c] / divisor(p, q) over the windows that hold (h, w)
//
// Windows: of a given extent and step (avg_pool2d; what hangs over behind the padding never counts), or with ADAPTIVE so many that
// cover the image evenly, window i of P being [floor(i H / P), ceil((i + 1) H / P)). The divisor is the number of elements, with
// COUNT_PAD also those of the padding, or DIVISOR where that is not 0. Layout: [N, H, W, C], or [N, C, H, W] with CHANNELS_LAST 0.
// Mapping: one vector of channels (one element with channels first) of the result per thread, grid-stride. One window per plane has
// kernels of its own: with channels first LANES lanes share a plane and add in a fixed tree; with channels last 8 warps share the
// places of 32 vectors and are added in their order. The backward kernel gathers, in a fixed order: no atomics, no zeroing. Bytes per
// element of x (T), windows of stride s: T + T / s^2 either way, what windows share comes from the cache. Sums in f32.
#ifndef DTYPE
#define DTYPE float
#endif
#ifndef CHANNELS_LAST
#define CHANNELS_LAST 1
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef ADAPTIVE
#define ADAPTIVE 0
#endif
#ifndef WINDOW_H
#define WINDOW_H 2
#define WINDOW_W 2
#define STRIDE_H 2
#define STRIDE_W 2
#define PAD_H 0
#define PAD_W 0
#endif
#ifndef COUNT_PAD
#define COUNT_PAD 1
#endif
#ifndef DIVISOR
#define DIVISOR 0
#endif
// Lanes and elements of an access of avg_pool_planes.
#ifndef LANES
#define LANES 32
#endif
#ifndef PIECE
#define PIECE 1
#endif
#include "common/images.cuh"
#include "common/reduce.cuh"

using namespace gpuengine;

using T = DTYPE;

// The elements [start, end) of an axis that a window holds, and how many it counts with the padding.
struct Window {
    i32 start, end, padded;
    DEVICE Window(i32 i, i32 input, i32 windows, i32 extent, i32 stride, i32 pad) {
        if (ADAPTIVE) {
            start = static_cast<i32>(static_cast<i64>(i) * input / windows);
            end = static_cast<i32>((static_cast<i64>(i + 1) * input + windows - 1) / windows);
            padded = end - start;
        } else {
            start = i * stride - pad;
            end = min(start + extent, input + pad);
            padded = end - start;
            start = max(start, 0);
            end = min(end, input);
        }
    }
    DEVICE i32 count() const { return max(end - start, 0); }
};

DEVICE Window rows_of(i32 p, i64 height, i64 rows) {
    return Window(p, static_cast<i32>(height), static_cast<i32>(rows), WINDOW_H, STRIDE_H, PAD_H);
}
DEVICE Window columns_of(i32 q, i64 width, i64 columns) {
    return Window(q, static_cast<i32>(width), static_cast<i32>(columns), WINDOW_W, STRIDE_W, PAD_W);
}

// A window that lies in the padding alone sums to zero, whatever it is divided by.
DEVICE float divisor(const Window& high, const Window& wide) {
    if (high.count() == 0 || wide.count() == 0) return 1.0f;
    if (DIVISOR != 0) return static_cast<float>(DIVISOR);
    return COUNT_PAD ? static_cast<float>(high.padded) * static_cast<float>(wide.padded)
                     : static_cast<float>(high.count()) * static_cast<float>(wide.count());
}

extern "C" __global__ void __launch_bounds__(256) avg_pool_forward(
    T* y, const T* x, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns) {
    const i64 count = images * channels * rows * columns / VECTOR;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const Place o(i, channels, rows, columns);
        const Window high = rows_of(o.y, height, rows), wide = columns_of(o.x, width, columns);
        Vec<float, VECTOR> sum;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum[e] = 0.0f;
        for (i32 row = high.start; row < high.end; ++row) {
#pragma unroll 4
            for (i32 column = wide.start; column < wide.end; ++column) {
                const Vec<float, VECTOR> v = to_float(load<VECTOR>(x + o.at(row, column, channels, height, width)));
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) sum[e] += v[e];
            }
        }
        const float by = divisor(high, wide);
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum[e] /= by;
        store(y + i * VECTOR, from_float<T>(sum));
    }
}

// The windows along an axis that hold a place: from the first up to, not with, the end.
DEVICE void holders(i32 place, i32 input, i32 windows, i32 extent, i32 stride, i32 pad, i32& first, i32& end) {
    if (ADAPTIVE) {
        first = static_cast<i32>(static_cast<i64>(place) * windows / input);
        end = static_cast<i32>((static_cast<i64>(place + 1) * windows + input - 1) / input);
    } else {
        first = first_window(place, pad, extent, stride, 1);
        end = min((place + pad) / stride + 1, windows);
    }
}

extern "C" __global__ void __launch_bounds__(256) avg_pool_backward(
    T* dx, const T* dy, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns) {
    const i64 count = images * channels * height * width / VECTOR;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const Place o(i, channels, height, width);
        i32 top, bottom, left, right;
        holders(o.y, static_cast<i32>(height), static_cast<i32>(rows), WINDOW_H, STRIDE_H, PAD_H, top, bottom);
        holders(o.x, static_cast<i32>(width), static_cast<i32>(columns), WINDOW_W, STRIDE_W, PAD_W, left, right);
        Vec<float, VECTOR> sum;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum[e] = 0.0f;
        for (i32 p = top; p < bottom; ++p) {
            const Window high = rows_of(p, height, rows);
            for (i32 q = left; q < right; ++q) {
                const float by = divisor(high, columns_of(q, width, columns));
                const Vec<float, VECTOR> v = to_float(load<VECTOR>(dy + o.at(p, q, channels, rows, columns)));
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) sum[e] += v[e] / by;
            }
        }
        store(dx + i * VECTOR, from_float<T>(sum));
    }
}

// One window per plane, channels first: planes of `length` neighbours.
extern "C" __global__ void __launch_bounds__(256) avg_pool_planes(T* y, const T* x, i64 planes, i64 length, i64 by) {
    constexpr i64 kPlanes = 256 / LANES;
    const i64 turns = ceil_div(planes, kPlanes);
    const int lane = thread_rank() % LANES;
    for (i64 turn = blockIdx.x; turn < turns; turn += gridDim.x) {
        const i64 plane = turn * kPlanes + thread_rank() / LANES;
        float sum = 0.0f;
        if (plane < planes) {
#pragma unroll 4
            for (i64 i = lane * PIECE; i < length; i += LANES * PIECE) {
                const Vec<float, PIECE> v = to_float(load_once<PIECE>(x + plane * length + i));
#pragma unroll
                for (int e = 0; e < PIECE; ++e) sum += v[e];
            }
        }
        // Every lane of the warp comes here, those without a plane too.
        sum = warp_sum<LANES>(sum);
        if (plane < planes && lane == 0) y[plane] = from_float<T>(sum / static_cast<float>(by));
    }
}

// One window per plane, channels last: `length` places of `channels` neighbours per image.
extern "C" __global__ void __launch_bounds__(256) avg_pool_places(T* y, const T* x, i64 images, i64 length, i64 channels, i64 by) {
    __shared__ float sums[8][32 * VECTOR + 1];
    const i64 groups = channels / VECTOR, count = images * groups, turns = ceil_div(count, static_cast<i64>(32));
    const int lane = lane_index(), warp = warp_index();
    for (i64 turn = blockIdx.x; turn < turns; turn += gridDim.x) {
        const i64 i = turn * 32 + lane;
        Vec<float, VECTOR> sum;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum[e] = 0.0f;
        if (i < count) {
            const T* const from = x + i / groups * length * channels + i % groups * VECTOR;
#pragma unroll 4
            for (i64 place = warp; place < length; place += 8) {
                const Vec<float, VECTOR> v = to_float(load_once<VECTOR>(from + place * channels));
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) sum[e] += v[e];
            }
        }
        // Element by element across the lanes, so that neighbours meet different banks.
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sums[warp][e * 32 + lane] = sum[e];
        __syncthreads();
        if (warp == 0 && i < count) {
#pragma unroll
            for (int w = 1; w < 8; ++w) {
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) sum[e] += sums[w][e * 32 + lane];
            }
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) sum[e] /= static_cast<float>(by);
            store(y + i * VECTOR, from_float<T>(sum));
        }
        __syncthreads();
    }
}
