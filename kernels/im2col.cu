// Images as matrices of patches, and back, for convolutions by matrix products.
//
//   im2col   columns[.., (p, q), (c, r, s)] = x[n, c, p stride - pad + r dilation, q stride - pad + s dilation], zero outside the image
//   col2im   x[n, c, h, w] = sum over the r, s and the p, q that they lead to (h, w) from, of columns[.., (p, q), (c, r, s)]
//   sum_parts  out[i] = sum over j of parts[j, i]
//
// Layout: from [N, H, W, C] the columns are [groups, n, P, Q, R, S, C / groups], from [N, C, H, W] (CHANNELS_LAST 0) they are
// [n, C, R, S, P, Q], for n images from `first` on. x is T; the columns of im2col are T, those of col2im and the parts are sums in f32
// (f64 for f64), rounded once when they leave. Mapping: a vector of the result per thread, grid-stride. im2col writes whole vectors in
// order; it reads vectors where they lie along the channels (GATHER 0), else elements. col2im gathers: no atomics, and the order of
// a place's sum is that of r and s. sum_parts: 32 neighbours by 8 warps that share the parts, added in the order of the warps.
// Bytes per element of x, windows R x S of stride d: im2col reads T R S / d^2 (T from memory, the rest from the cache) and writes
// as much; col2im reads 4 R S / d^2 and writes T.
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef CHANNELS_LAST
#define CHANNELS_LAST 1
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef GATHER
#define GATHER 0
#endif
#ifndef WINDOW_H
#define WINDOW_H 3
#define WINDOW_W 3
#define STRIDE_H 1
#define STRIDE_W 1
#define PAD_H 1
#define PAD_W 1
#define DILATION_H 1
#define DILATION_W 1
#endif

using namespace gpuengine;

using T = DTYPE;
using Sum = Accumulator<T>::type;

static_assert(CHANNELS_LAST || GATHER || VECTOR == 1, "columns of channels first are gathered, or images written, by element");

// Extents; the launcher keeps every count of elements below 2^31, so that divisions are by 32 bits.
struct Extents {
    u32 images, depth, height, width, rows, columns, groups;
};

// A place in the columns: channel of its group (of the image with channels first), tap, position, image, group.
struct Place {
    u32 c, r, s, p, q, n, g;
    DEVICE Place(u32 i, const Extents& e) {
        if (CHANNELS_LAST) {
            c = i % e.depth, i /= e.depth;
            s = i % WINDOW_W, i /= WINDOW_W;
            r = i % WINDOW_H, i /= WINDOW_H;
            q = i % e.columns, i /= e.columns;
            p = i % e.rows, i /= e.rows;
            n = i % e.images, g = i / e.images;
        } else {
            q = i % e.columns, i /= e.columns;
            p = i % e.rows, i /= e.rows;
            s = i % WINDOW_W, i /= WINDOW_W;
            r = i % WINDOW_H, i /= WINDOW_H;
            c = i % e.depth, n = i / e.depth;
            g = 0;
        }
    }
    DEVICE void next(const Extents& e) {
        if (CHANNELS_LAST) {
            if (++c < e.depth) return;
            c = 0;
            if (++s < WINDOW_W) return;
            s = 0;
            if (++r < WINDOW_H) return;
            r = 0;
            if (++q < e.columns) return;
            q = 0;
            if (++p < e.rows) return;
            p = 0;
            if (++n < e.images) return;
            n = 0, ++g;
        } else {
            if (++q < e.columns) return;
            q = 0;
            if (++p < e.rows) return;
            p = 0;
            if (++s < WINDOW_W) return;
            s = 0;
            if (++r < WINDOW_H) return;
            r = 0;
            if (++c < e.depth) return;
            c = 0, ++n;
        }
    }
    // Where it comes from, counted from the first image of the launch; -1 outside.
    DEVICE i64 source(const Extents& e) const {
        const i32 row = static_cast<i32>(p * STRIDE_H + r * DILATION_H) - PAD_H;
        const i32 column = static_cast<i32>(q * STRIDE_W + s * DILATION_W) - PAD_W;
        if (row < 0 || row >= static_cast<i32>(e.height) || column < 0 || column >= static_cast<i32>(e.width)) return -1;
        return CHANNELS_LAST
                   ? ((static_cast<i64>(n) * e.height + row) * e.width + column) * (e.depth * e.groups) + g * e.depth + c
                   : ((static_cast<i64>(n) * e.depth + c) * e.height + row) * e.width + column;
    }
};

DEVICE T zero() { return from_accumulator<T>(Sum(0)); }

extern "C" __global__ void __launch_bounds__(256) im2col(
    T* columns, const T* x, i64 first, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 places, i64 groups) {
    const u32 depth = static_cast<u32>(CHANNELS_LAST ? channels / groups : channels);
    const Extents e = {static_cast<u32>(images), depth, static_cast<u32>(height), static_cast<u32>(width),
                       static_cast<u32>(rows), static_cast<u32>(places), static_cast<u32>(groups)};
    const u32 count = static_cast<u32>(images * channels * rows * places * (WINDOW_H * WINDOW_W));
    const T* const from = x + first * channels * height * width;
    for (i64 turn = global_thread(); turn * VECTOR < count; turn += global_threads()) {
        const u32 i = static_cast<u32>(turn * VECTOR);
        Place place(i, e);
        Vec<T, VECTOR> out;
        if (GATHER) {
#pragma unroll
            for (int v = 0; v < VECTOR; ++v) {
                const i64 at = i + v < count ? place.source(e) : -1;
                out[v] = at < 0 ? zero() : from[at];
                place.next(e);
            }
            if (i + VECTOR > count) {
                for (int v = 0; i + v < count; ++v) columns[i + v] = out[v];
                continue;
            }
        } else {
            const i64 at = place.source(e);
            if (at >= 0) {
                out = load<VECTOR>(from + at);
            } else {
#pragma unroll
                for (int v = 0; v < VECTOR; ++v) out[v] = zero();
            }
        }
        store(columns + i, out);
    }
}

extern "C" __global__ void __launch_bounds__(256) col2im(
    T* x, const Sum* columns, i64 first, i64 images, i64 channels, i64 height, i64 width, i64 rows, i64 places, i64 groups) {
    const u32 depth = static_cast<u32>(CHANNELS_LAST ? channels / groups : channels);
    const u32 count = static_cast<u32>(images * channels * height * width / VECTOR);
    T* const to = x + first * channels * height * width;
    for (i64 turn = global_thread(); turn < count; turn += global_threads()) {
        // Fastest first: channels, width, height, image; or width, height, channel, image.
        u32 i = static_cast<u32>(turn) * VECTOR, c = 0;
        if (CHANNELS_LAST) c = i % static_cast<u32>(channels), i /= static_cast<u32>(channels);
        const u32 w = i % static_cast<u32>(width);
        i /= static_cast<u32>(width);
        const u32 h = i % static_cast<u32>(height);
        i /= static_cast<u32>(height);
        if (!CHANNELS_LAST) c = i % static_cast<u32>(channels), i /= static_cast<u32>(channels);
        const i64 n = i, group = c / depth, channel = c % depth;
        Sum sum[VECTOR];
#pragma unroll
        for (int v = 0; v < VECTOR; ++v) sum[v] = Sum(0);
        for (int r = 0; r < WINDOW_H; ++r) {
            const i32 below = static_cast<i32>(h) + PAD_H - r * DILATION_H, p = below / STRIDE_H;
            if (below < 0 || p * STRIDE_H != below || p >= rows) continue;
            for (int s = 0; s < WINDOW_W; ++s) {
                const i32 beside = static_cast<i32>(w) + PAD_W - s * DILATION_W;
                if (CHANNELS_LAST) {
                    const i32 q = beside / STRIDE_W;
                    if (beside < 0 || q * STRIDE_W != beside || q >= places) continue;
                    const i64 position = ((group * images + n) * rows + p) * places + q;
                    const Vec<Sum, VECTOR> part = load<VECTOR>(columns + ((position * WINDOW_H + r) * WINDOW_W + s) * depth + channel);
#pragma unroll
                    for (int v = 0; v < VECTOR; ++v) sum[v] += part[v];
                } else {
                    const Sum* const line = columns + ((((n * channels + c) * WINDOW_H + r) * WINDOW_W + s) * rows + p) * places;
#pragma unroll
                    for (int v = 0; v < VECTOR; ++v) {
                        const i32 q = (beside + v) / STRIDE_W;
                        if (beside + v >= 0 && q * STRIDE_W == beside + v && q < places) sum[v] += line[q];
                    }
                }
            }
        }
        Vec<T, VECTOR> out;
#pragma unroll
        for (int v = 0; v < VECTOR; ++v) out[v] = from_accumulator<T>(sum[v]);
        store(to + turn * VECTOR, out);
    }
}

extern "C" __global__ void __launch_bounds__(256) sum_parts(T* out, const Sum* parts, i64 count, i64 number) {
    __shared__ Sum sums[8][32];
    const int lane = lane_index(), warp = warp_index();
    const i64 turns = ceil_div(count, static_cast<i64>(32));
    for (i64 turn = blockIdx.x; turn < turns; turn += gridDim.x) {
        const i64 i = turn * 32 + lane;
        Sum sum = Sum(0);
        if (i < count) {
#pragma unroll 8
            for (i64 j = warp; j < number; j += 8) sum += parts[j * count + i];
        }
        sums[warp][lane] = sum;
        __syncthreads();
        if (warp == 0 && i < count) {
#pragma unroll
            for (int w = 1; w < 8; ++w) sum += sums[w][lane];
            out[i] = from_accumulator<T>(sum);
        }
        __syncthreads();
    }
}
