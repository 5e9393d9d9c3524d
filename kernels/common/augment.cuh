// What augmentation draws for one image and how it changes colours: the arithmetic of AugmentDecomposition and AugmentColors, operation by
// operation, so that CPU and GPU get the same bits. Compile with --fmad=false: a product and a sum are two roundings.
#pragma once
#include "philox.cuh"

// Steps that are absent are compiled away.
#ifndef STREAM
#define STREAM 0u
#endif
#ifndef FLIPS
#define FLIPS 0
#endif
#ifndef CROP
#define CROP 0
#endif
#ifndef RESIZED
#define RESIZED 0
#endif
#ifndef COLORS
#define COLORS 0
#endif
#ifndef CUTOUT
#define CUTOUT 0
#endif
#ifndef FLIPS_GIVEN
#define FLIPS_GIVEN 0
#endif
// Random crop: padding before the image; the fixed place, or -1 where it is drawn.
#ifndef PAD_TOP
#define PAD_TOP 0
#define PAD_LEFT 0
#define PAD_HEIGHT 0
#define PAD_WIDTH 0
#define PLACE_TOP -1
#define PLACE_LEFT -1
#endif
// Resized crop: the ranges, and the window where no attempt fits.
#ifndef SCALE_LOW
#define SCALE_LOW 0.08
#define SCALE_SPAN 0.92
#define RATIO_MIDDLE 1.0
#define RATIO_HALF_SPAN 0.28768207245178085
#define FALLBACK_TOP 0
#define FALLBACK_LEFT 0
#define FALLBACK_HEIGHT 1
#define FALLBACK_WIDTH 1
#endif
// Jitter: adjustments by number (0 brightness, 1 contrast, 2 saturation, 3 hue), one hexadecimal digit each from the lowest.
#ifndef ADJUSTMENTS
#define ADJUSTMENTS 0x210
#endif
#ifndef BRIGHTNESS_LOW
#define BRIGHTNESS_LOW 0.0
#define BRIGHTNESS_SPAN 0.0
#define CONTRAST_LOW 0.0
#define CONTRAST_SPAN 0.0
#define SATURATION_LOW 0.0
#define SATURATION_SPAN 0.0
#define HUE_LOW 0.0
#define HUE_SPAN 0.0
#endif

namespace gpuengine {

// Words of an image, see AugmentDraw: image n owns elements 64 n ... 64 n + 63.
class ImageWords {
public:
    DEVICE ImageWords(const i64* state, i64 image)
        : seed_(static_cast<u64>(state[0])), offset_(static_cast<u32>(state[1])), first_(image * 16), block_(-1) {}

    // The upper 24 bits of a word.
    DEVICE u32 mantissa(int index) {
        if (index / 4 != block_) {
            block_ = index / 4;
            words_ = random_words(seed_, STREAM, offset_, static_cast<u64>(first_ + block_));
        }
        const int i = index % 4;
        return (i == 0 ? words_[0] : i == 1 ? words_[1] : i == 2 ? words_[2] : words_[3]) >> 8;
    }
    DEVICE double uniform(int index) { return mantissa(index) * (1.0 / 16777216.0); }
    DEVICE i32 below(int index, i32 count) { return static_cast<i32>(static_cast<i64>(mantissa(index)) * count >> 24); }

private:
    u64 seed_;
    u32 offset_;
    i64 first_;
    int block_;
    Vec<u32, 4> words_;
};

struct ImageDraw {
    i32 flip;
    i32 top, left;                                       // the window's first row and column in the image
    i32 height, width;                                   // extent of a resized crop's window
    u32 order;                                           // adjustments in their drawn order, a digit each
    float factor[4];
    i32 hole_top, hole_left, hole_bottom, hole_right;    // what cutout erases
};

DEVICE double exp_series(double y) {
    double sum = 1.0;
#pragma unroll 1
    for (int n = 24; n >= 1; --n) sum = y * (1.0 / n) * sum + 1.0;
    return sum;
}

DEVICE void draw_box(ImageDraw& d, ImageWords& words, i32 height, i32 width) {
#pragma unroll 1
    for (int attempt = 0; attempt < 10; ++attempt) {
        const int first = 16 + 4 * attempt;
        const double area = (words.uniform(first) * SCALE_SPAN + SCALE_LOW) * (static_cast<double>(height) * width);
        const double ratio = exp_series((words.uniform(first + 1) - 0.5) * (2 * RATIO_HALF_SPAN)) * RATIO_MIDDLE;
        const double w = floor(sqrt(area * ratio) + 0.5), h = floor(sqrt(area / ratio) + 0.5);
        if (!(w > 0 && w <= width && h > 0 && h <= height)) continue;
        d.height = static_cast<i32>(h);
        d.width = static_cast<i32>(w);
        d.top = words.below(first + 2, height + 1 - d.height);
        d.left = words.below(first + 3, width + 1 - d.width);
        return;
    }
    d.top = FALLBACK_TOP;
    d.left = FALLBACK_LEFT;
    d.height = FALLBACK_HEIGHT;
    d.width = FALLBACK_WIDTH;
}

// Order k of the adjustments, lexicographic among their numbers in ADJUSTMENTS.
DEVICE u32 order_digits(u32 k) {
    u32 remaining = ADJUSTMENTS, result = 0, orders = 1;
#pragma unroll
    for (int n = 2; n < COLORS; ++n) orders *= n;
#pragma unroll
    for (int place = 0; place < COLORS; ++place) {
        const u32 shift = 4 * (k / orders);
        result |= (remaining >> shift & 15u) << 4 * place;
        remaining = (remaining & ((1u << shift) - 1u)) | (remaining >> 4 >> shift << shift);
        k %= orders;
        if (place + 2 < COLORS) orders /= COLORS - 1 - place;
    }
    return result;
}

DEVICE float drawn_factor(ImageWords& words, int index, double low, double span) {
    return static_cast<float>(words.uniform(index) * span + low);
}

DEVICE void draw_image(ImageDraw& d, const i64* state, i64 image, i32 height, i32 width, i32 rows, i32 columns) {
    ImageWords words(state, image);
    d.flip = FLIPS > 0 && words.mantissa(0) < static_cast<u32>(FLIPS);
    d.top = d.left = 0;
    if (CROP) {
        d.top = (PLACE_TOP >= 0 ? PLACE_TOP : words.below(1, height + PAD_HEIGHT - rows + 1)) - PAD_TOP;
        d.left = (PLACE_LEFT >= 0 ? PLACE_LEFT : words.below(2, width + PAD_WIDTH - columns + 1)) - PAD_LEFT;
    }
    if (RESIZED) draw_box(d, words, height, width);
    if (COLORS) {
        u32 orders = 1;
#pragma unroll
        for (int n = 2; n <= COLORS; ++n) orders *= n;
        d.order = order_digits(words.below(3, orders));
        d.factor[0] = drawn_factor(words, 4, BRIGHTNESS_LOW, BRIGHTNESS_SPAN);
        d.factor[1] = drawn_factor(words, 5, CONTRAST_LOW, CONTRAST_SPAN);
        d.factor[2] = drawn_factor(words, 6, SATURATION_LOW, SATURATION_SPAN);
        d.factor[3] = drawn_factor(words, 7, HUE_LOW, HUE_SPAN);
    }
    if (CUTOUT) {
        const i32 row = words.below(8, rows), column = words.below(9, columns), half = CUTOUT / 2;
        d.hole_top = max(row - half, 0);
        d.hole_left = max(column - half, 0);
        d.hole_bottom = min(row + half, rows);
        d.hole_right = min(column + half, columns);
    }
}

// A pixel of one or three channels.
template <int Channels>
struct Pixel {
    float v[Channels];
};

DEVICE float clamp01(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

template <int Channels>
DEVICE float grey(const Pixel<Channels>& p) {
    if constexpr (Channels == 1)
        return p.v[0];
    else
        return p.v[0] * 0.2989f + p.v[1] * 0.587f + p.v[2] * 0.114f;
}

DEVICE float fraction(float x) { return x - floorf(x); }

DEVICE void turn_hue(Pixel<1>&, float) {}

DEVICE void turn_hue(Pixel<3>& p, float turn) {
    const float r = p.v[0], g = p.v[1], b = p.v[2];
    const float value = fmaxf(fmaxf(r, g), b), least = fminf(fminf(r, g), b), range = value - least;
    const bool is_grey = value == least;
    const float saturation = is_grey ? 0.0f : __fdiv_rn(range, value), divisor = is_grey ? 1.0f : range;
    const float from_r = __fdiv_rn(value - r, divisor), from_g = __fdiv_rn(value - g, divisor), from_b = __fdiv_rn(value - b, divisor);
    const float sixths = value == r ? from_b - from_g : value == g ? from_r + 2.0f - from_b : from_g + 4.0f - from_r;
    const float hue = fraction(fraction(__fdiv_rn(sixths, 6.0f) + 1.0f) + turn);
    const float sector = floorf(hue * 6.0f), within = hue * 6.0f - sector;
    const float low = clamp01(value * (1.0f - saturation)), falling = clamp01(value * (1.0f - saturation * within)),
                rising = clamp01(value * (1.0f - saturation * (1.0f - within)));
    const i32 s = static_cast<i32>(sector);
    p.v[0] = s == 1 ? falling : s == 2 || s == 3 ? low : s == 4 ? rising : value;
    p.v[1] = s == 1 || s == 2 ? value : s == 3 ? falling : s == 4 || s == 5 ? low : rising;
    p.v[2] = s == 2 ? rising : s == 3 || s == 4 ? value : s == 5 ? falling : low;
}

// One adjustment of a pixel; `mean` is the image's grey where the adjustment is contrast.
template <int Channels>
DEVICE void adjust(Pixel<Channels>& p, u32 adjustment, float factor, float mean) {
    if (adjustment == 3) {
        turn_hue(p, factor);
        return;
    }
    const float other = adjustment == 0 ? 0.0f : (1.0f - factor) * (adjustment == 1 ? mean : grey(p));
#pragma unroll
    for (int c = 0; c < Channels; ++c) p.v[c] = clamp01(factor * p.v[c] + other);
}

}  // namespace gpuengine
