// Maxima over windows of images, with where they were, and the gradient.
//
//   forward   y[n, p, q, c] = max over r, s of x[n, p stride - pad + r dilation, q stride - pad + s dilation, c]; padding counts as
//             minus infinity, the first maximum wins, NaN wins over all; index = its place row-major in the H x W plane (i32)
//   backward  dx[n, h, w, c] = sum of dy over the windows whose index is (h, w)
//
// Layout: [N, H, W, C], or [N, C, H, W] with CHANNELS_LAST 0. Mapping: one vector of channels (one element with channels first) of the
// output per thread, grid-stride. The backward kernel gathers: each place of dx asks the windows that cover it, in a fixed order, so it
// needs no atomics and no zeroing. Bytes per element of x (T), windows of stride s: forward T + (T + 4) / s^2; backward the same, each
// dy and index read from memory once and from the cache where windows overlap. Sums in f32 (f64 for f64).
#ifndef DTYPE
#define DTYPE float
#endif
#ifndef CHANNELS_LAST
#define CHANNELS_LAST 1
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef WINDOW_H
#define WINDOW_H 3
#define WINDOW_W 3
#define STRIDE_H 2
#define STRIDE_W 2
#define PAD_H 1
#define PAD_W 1
#define DILATION_H 1
#define DILATION_W 1
#endif
#include "common/images.cuh"

using namespace gpuengine;

using T = DTYPE;
using Sum = Accumulator<T>::type;

extern "C" __global__ void __launch_bounds__(256) max_pool_forward(
    T* y, i32* index, const T* x, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns) {
    const i64 count = images * channels * rows * columns / VECTOR;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const Place o(i, channels, rows, columns);
        const i32 top = o.y * STRIDE_H - PAD_H, left = o.x * STRIDE_W - PAD_W;
        Sum best[VECTOR];
        Vec<i32, VECTOR> place;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            best[e] = Sum(0);
            place[e] = -1;
        }
#pragma unroll
        for (int r = 0; r < WINDOW_H; ++r) {
            const i32 row = top + r * DILATION_H;
            if (row < 0 || row >= height) continue;
#pragma unroll
            for (int s = 0; s < WINDOW_W; ++s) {
                const i32 column = left + s * DILATION_W;
                if (column < 0 || column >= width) continue;
                const Vec<T, VECTOR> v = load<VECTOR>(x + o.at(row, column, channels, height, width));
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) {
                    const Sum value = to_accumulator(v[e]);
                    if (place[e] < 0 || value > best[e] || (value != value && best[e] == best[e])) {
                        best[e] = value;
                        place[e] = static_cast<i32>(row * width + column);
                    }
                }
            }
        }
        Vec<T, VECTOR> out;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            // A window that lies in the padding alone has the lowest value and the place of the plane's first element.
            out[e] = from_accumulator<T>(place[e] < 0 ? Sum(-1) / Sum(0) : best[e]);
            if (place[e] < 0) place[e] = 0;
        }
        store(y + i * VECTOR, out);
        store(index + i * VECTOR, place);
    }
}

extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    T* dx, const T* dy, const i32* index, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 columns) {
    const i64 count = images * channels * height * width / VECTOR;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const Place o(i, channels, height, width);
        const i32 here = static_cast<i32>(o.y * width + o.x);
        Sum sum[VECTOR];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum[e] = Sum(0);
        for (i32 p = first_window(o.y, PAD_H, WINDOW_H, STRIDE_H, DILATION_H); p < rows && p * STRIDE_H <= o.y + PAD_H; ++p) {
            for (i32 q = first_window(o.x, PAD_W, WINDOW_W, STRIDE_W, DILATION_W); q < columns && q * STRIDE_W <= o.x + PAD_W; ++q) {
                const i64 from = o.at(p, q, channels, rows, columns);
                const Vec<i32, VECTOR> place = load<VECTOR>(index + from);
                const Vec<T, VECTOR> v = load<VECTOR>(dy + from);
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) {
                    if (place[e] == here) sum[e] += to_accumulator(v[e]);
                }
            }
        }
        Vec<T, VECTOR> out;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) out[e] = from_accumulator<T>(sum[e]);
        store(dx + i * VECTOR, out);
    }
}
