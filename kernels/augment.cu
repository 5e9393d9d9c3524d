// A training batch on its way to the network, in one pass: crop or resized crop, horizontal flip, colour jitter, normalisation, cutout.
//
//   y[n, c, i, j] = erased(i, j) ? 0 : (colours(window(x / 255 or x)) - mean[c]) / deviation[c]
//
// Each step may be compiled away (common/augment.cuh has the macros and the draws, which follow from seed, offset and image alone).
// Layout: x [N, C, H, W] of u8, float or bf16, y [N, C, rows, columns]. Mapping: `pieces` blocks per image; thread 0 draws for its image;
// a thread makes VECTOR neighbouring pixels of a row, of PLANES channels (all of them with jitter, else one), and stores them in one
// access of up to 16 bytes. Without a window, and with whole rows mirrored, it reads in vectors too. A window starts at any pixel: of bytes
// it reads the one or two aligned words that hold its pixels (BYTE_WORDS) and masks those beyond the edge; elsewhere, and where a reflected
// edge is near, single elements whose sectors neighbours share. Contrast needs the mean grey of the image as the adjustments before it left
// it: one block then has the whole image and goes over it twice, the second time from the cache; the mean is an integer sum of multiples
// of 2^-32, so that its bits depend on no order.
// Bytes: x read once (padding not at all; with contrast twice; four times, mostly cached, with a resized crop), y written once, and per
// block 16 for the generator and 8 C. Live registers: 3 VECTOR of the pixels with jitter, 14 of the places: about 40.
// Arithmetic in f32, draws in integers and f64. Compile with --fmad=false, without fast-math: bits equal the CPU's.
#include "common/augment.cuh"
#include "common/reduce.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PIXEL_DTYPE
#define PIXEL_DTYPE u8
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PLANES
#define PLANES 1
#endif
#ifndef REFLECT
#define REFLECT 0
#endif
#ifndef FILL
#define FILL 0.0f
#endif
#ifndef NORMALIZE
#define NORMALIZE 0
#endif
#ifndef CONTRAST
#define CONTRAST 0
#endif
#ifndef VECTOR_READS
#define VECTOR_READS 0
#endif
#ifndef BYTE_WORDS
#define BYTE_WORDS 0
#endif
#ifndef THREADS
#define THREADS 256
#endif

using namespace gpuengine;

using T = DTYPE;
using U = PIXEL_DTYPE;

constexpr int kMostChannels = 64;

static_assert(!(CROP && RESIZED), "one window");
static_assert(!VECTOR_READS || !(CROP || RESIZED), "a window starts anywhere");
static_assert(PLANES == 1 || PLANES == 3, "grey or colour");

static_assert(!BYTE_WORDS || (CROP && is_same<U, u8>::value && (VECTOR == 4 || VECTOR == 8)), "words of four or eight bytes");

struct Sizes {
    i32 channels, height, width, rows, columns;
    i64 pixels;    // of all images
};

template <int Bytes>
struct Word {
    using type = u32;
};
template <>
struct Word<8> {
    using type = u64;
};

// N bytes from any address, from the aligned words that hold them.
template <int N>
DEVICE typename Word<N>::type unaligned_word(const u8* from) {
    using W = typename Word<N>::type;
    const u32 beyond = static_cast<u32>(reinterpret_cast<u64>(from) % N);
    const W* const words = reinterpret_cast<const W*>(from - beyond);
    const W low = words[0];
    return beyond == 0 ? low : low >> 8 * beyond | words[1] << 8 * (N - beyond);
}

DEVICE float pixel(u8 x) { return __fdiv_rn(static_cast<float>(x), 255.0f); }
DEVICE float pixel(float x) { return x; }
DEVICE float pixel(bf16 x) { return to_float(x); }

// The place in the image, or -1.
DEVICE i32 place(i32 at, i32 extent) {
    if (REFLECT) return extent - 1 - abs(extent - 1 - abs(at));
    return at >= 0 && at < extent ? at : -1;
}

// torch's upsample_bilinear2d with align_corners false.
struct Neighbours {
    i32 first, second;
    float share;
    DEVICE Neighbours(i32 at, i32 extent, i32 result) {
        const float scale = __fdiv_rn(static_cast<float>(extent), static_cast<float>(result));
        const float source = fmaxf((static_cast<float>(at) + 0.5f) * scale - 0.5f, 0.0f);
        first = static_cast<i32>(source);
        second = min(first + 1, extent - 1);
        share = source - static_cast<float>(first);
    }
};

// Neighbouring pixels of a row in words; false where some of them are outside all images, or mirrored.
DEVICE bool window_of_bytes(float (&v)[VECTOR], const U* x, i64 plane, const ImageDraw& d, const Sizes& size, i32 row, i32 first) {
    const i64 at = plane + static_cast<i64>(row) * size.width + first;
    if (at < 0 || at + VECTOR > size.pixels || (REFLECT && (first < 0 || first + VECTOR > size.width))) return false;
    const auto word = unaligned_word<VECTOR>(reinterpret_cast<const u8*>(x + at));
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        const int from = d.flip ? VECTOR - 1 - e : e;
        v[e] = first + from >= 0 && first + from < size.width ? pixel(static_cast<u8>(word >> 8 * from)) : FILL;
    }
    return true;
}

// VECTOR pixels of one plane of the result, at (row, column); the plane begins at x[offset].
DEVICE void window(float (&v)[VECTOR], const U* x, i64 offset, const ImageDraw& d, const Sizes& size, i32 row, i32 column) {
    const U* const plane = x + offset;
    if constexpr (VECTOR_READS) {
        const i32 from = d.flip ? size.columns - VECTOR - column : column;
        const Vec<U, VECTOR> x = load<VECTOR>(plane + row * size.width + from);
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) v[e] = pixel(d.flip ? x[VECTOR - 1 - e] : x[e]);
    } else if constexpr (RESIZED) {
        const Neighbours down(row, d.height, size.rows);
        const U* const top = plane + (d.top + down.first) * size.width + d.left;
        const U* const bottom = plane + (d.top + down.second) * size.width + d.left;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            const Neighbours across(d.flip ? size.columns - 1 - column - e : column + e, d.width, size.columns);
            const float upper = (1.0f - across.share) * pixel(top[across.first]) + across.share * pixel(top[across.second]);
            const float lower = (1.0f - across.share) * pixel(bottom[across.first]) + across.share * pixel(bottom[across.second]);
            v[e] = (1.0f - down.share) * upper + down.share * lower;
        }
    } else {
        const i32 from = place(row + d.top, size.height);
        if constexpr (BYTE_WORDS) {
            if (from >= 0 && window_of_bytes(v, x, offset, d, size, from, (d.flip ? size.columns - VECTOR - column : column) + d.left)) return;
        }
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            const i32 at = place((d.flip ? size.columns - 1 - column - e : column + e) + d.left, size.width);
            v[e] = from >= 0 && at >= 0 ? pixel(plane[from * size.width + at]) : FILL;
        }
    }
}

struct Group {
    Pixel<PLANES> pixels[VECTOR];

    DEVICE void read(const U* x, i64 image, const ImageDraw& d, const Sizes& size, i32 channel, i32 row, i32 column) {
#pragma unroll
        for (int c = 0; c < PLANES; ++c) {
            float v[VECTOR];
            window(v, x, (image * size.channels + channel + c) * size.height * size.width, d, size, row, column);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) pixels[e].v[c] = v[e];
        }
    }

    // The drawn adjustments; the ones before contrast only where `until_contrast`.
    DEVICE void adjust_colors(const ImageDraw& d, float mean, bool until_contrast) {
#pragma unroll 1
        for (u32 place = 0; place < COLORS; ++place) {
            const u32 adjustment = d.order >> 4 * place & 15u;
            if (until_contrast && adjustment == 1) return;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) adjust(pixels[e], adjustment, d.factor[adjustment], mean);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) augment(
    T* y, const U* x, const i64* state, const float* mean, const float* deviation, const i32* flips, i64 images, i64 channels,
    i64 height, i64 width, i64 rows, i64 columns, i64 pieces) {
    __shared__ ImageDraw draw;
    __shared__ float means[kMostChannels];
    __shared__ float deviations[kMostChannels];
    const Sizes size{static_cast<i32>(channels), static_cast<i32>(height), static_cast<i32>(width), static_cast<i32>(rows),
                     static_cast<i32>(columns), images * channels * height * width};
    const i64 image = blockIdx.x / pieces;
    const i32 piece = static_cast<i32>(blockIdx.x % pieces);
    if (threadIdx.x == 0) {
        draw_image(draw, state, image, size.height, size.width, size.rows, size.columns);
        if (FLIPS_GIVEN) draw.flip = flips[image] != 0;
    }
    if (NORMALIZE && threadIdx.x < channels) {
        means[threadIdx.x] = mean[threadIdx.x];
        deviations[threadIdx.x] = deviation[threadIdx.x];
    }
    __syncthreads();

    const i32 across = size.columns / VECTOR, groups = size.channels / PLANES * size.rows * across;
    const i32 share = ceil_div(groups, static_cast<i32>(pieces)), end = min((piece + 1) * share, groups);
    T* const to = y + image * channels * rows * columns;
    float mean_grey = 0.0f;
    if constexpr (CONTRAST) {
        i64 sum = 0;
        for (i32 g = threadIdx.x; g < groups; g += THREADS) {
            Group group;
            group.read(x, image, draw, size, g / across / size.rows * PLANES, g / across % size.rows, g % across * VECTOR);
            group.adjust_colors(draw, 0.0f, true);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) sum += static_cast<i64>(grey(group.pixels[e]) * 4294967296.0f);
        }
        sum = block_sum(sum);
        mean_grey = static_cast<float>(static_cast<double>(sum) / (4294967296.0 * (size.rows * size.columns)));
    }
    for (i32 g = piece * share + threadIdx.x; g < end; g += THREADS) {
        const i32 channel = g / across / size.rows * PLANES, row = g / across % size.rows, column = g % across * VECTOR;
        Group group;
        group.read(x, image, draw, size, channel, row, column);
        if constexpr (COLORS > 0) group.adjust_colors(draw, mean_grey, false);
        const bool hole_row = CUTOUT && row >= draw.hole_top && row < draw.hole_bottom;
#pragma unroll
        for (int c = 0; c < PLANES; ++c) {
            Vec<float, VECTOR> v;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                v[e] = group.pixels[e].v[c];
                if (NORMALIZE) v[e] = __fdiv_rn(v[e] - means[channel + c], deviations[channel + c]);
                if (hole_row && column + e >= draw.hole_left && column + e < draw.hole_right) v[e] = 0.0f;
            }
            store_once(to + (static_cast<i64>(channel + c) * size.rows + row) * size.columns + column, from_float<T>(v));
        }
    }
}
