// Local response normalisation across channels (Krizhevsky, Sutskever and Hinton 2012, section 3.3) and its gradient.
//
//   d[c] = K + SCALE * (sum of x[j]^2 over j from c - LOW to c + HIGH),   LOW = SIZE / 2, HIGH = (SIZE - 1) / 2
//   forward   y[c] = x[c] d[c]^-BETA
//   backward  dx[c] = dy[c] d[c]^-BETA - 2 BETA SCALE x[c] (sum of t[j] over j from c - HIGH to c + LOW),  t[j] = dy[j] x[j] d[j]^(-BETA - 1)
//
// Channels beyond the edge are zeros; SCALE is alpha / SIZE. Layout [N, C, L]: a thread walks the channels of VECTOR places and keeps the
// last SIZE of them in registers, so that x (and dy) is read once and y written once: 2T, backward 3T bytes per element. Layout
// [N, L, C] (CHANNELS_LAST): a thread has VECTOR channels of a place and reads the vectors before and behind them too, from the cache;
// needs SIZE - 1 <= VECTOR. Sums are made anew for every channel, in the order of the channels: nothing is taken away from them.
// Registers, by hand: SIZE + SIZE + LOW + 1 values per place backward, 13 for SIZE 5; VECTOR 2 keeps that below 48.
#include "common/math.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef CHANNELS_LAST
#define CHANNELS_LAST 0
#endif
#ifndef VECTOR
#define VECTOR 2
#endif
#ifndef SIZE
#define SIZE 5
#endif
#ifndef SCALE
#define SCALE 1e-4f
#define BETA 0.75f
#define OFFSET 2.0f
#endif

using namespace gpuengine;

using T = DTYPE;

constexpr int kLow = SIZE / 2, kHigh = (SIZE - 1) / 2;

// d^-BETA; the usual exponent by two roots, each rounded correctly, in place of powf's three dozen instructions.
DEVICE float power(float d) {
    if (BETA == 0.75f) {
        const float root = sqrtf(d);
        return 1.0f / (root * sqrtf(root));
    }
    return powf(d, -BETA);
}

DEVICE float denominator(const float* window) {
    float energy = 0.0f;
#pragma unroll
    for (int i = 0; i < SIZE; ++i) energy += window[i] * window[i];
    return OFFSET + SCALE * energy;
}

#if CHANNELS_LAST
static_assert(SIZE - 1 <= VECTOR, "neighbours are in the vectors beside");

// Three vectors of channels around group g, zeros beyond the edge.
DEVICE void around(float (&out)[3 * VECTOR], const T* line, i64 g, i64 groups) {
#pragma unroll
    for (int part = 0; part < 3; ++part) {
        const i64 at = g + part - 1;
        if (at >= 0 && at < groups) {
            const Vec<float, VECTOR> v = to_float(load<VECTOR>(line + at * VECTOR));
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) out[part * VECTOR + e] = v[e];
        } else {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) out[part * VECTOR + e] = 0.0f;
        }
    }
}
#endif

extern "C" __global__ void __launch_bounds__(256) local_response_norm_forward(T* y, const T* x, i64 images, i64 channels, i64 length) {
#if CHANNELS_LAST
    const i64 groups = channels / VECTOR, count = images * length * groups;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const i64 line = i / groups * channels, g = i % groups;
        float values[3 * VECTOR];
        around(values, x + line, g, groups);
        Vec<float, VECTOR> out;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) out[e] = values[VECTOR + e] * power(denominator(values + VECTOR + e - kLow));
        store(y + i * VECTOR, from_float<T>(out));
    }
#else
    const i64 places = length / VECTOR, count = images * places;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const i64 start = i / places * channels * length + i % places * VECTOR;
        float window[VECTOR][SIZE];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
#pragma unroll
            for (int k = 0; k < SIZE; ++k) window[e][k] = 0.0f;
        }
#pragma unroll 4
        for (i64 c = 0; c < channels + kHigh; ++c) {
            Vec<float, VECTOR> next, out;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) next[e] = 0.0f;
            if (c < channels) next = to_float(load_once<VECTOR>(x + start + c * length));
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
#pragma unroll
                for (int k = 0; k + 1 < SIZE; ++k) window[e][k] = window[e][k + 1];
                window[e][SIZE - 1] = next[e];
                out[e] = window[e][kLow] * power(denominator(window[e]));
            }
            if (c >= kHigh) store(y + start + (c - kHigh) * length, from_float<T>(out));
        }
    }
#endif
}

extern "C" __global__ void __launch_bounds__(256) local_response_norm_backward(
    T* dx, const T* dy, const T* x, i64 images, i64 channels, i64 length) {
#if CHANNELS_LAST
    const i64 groups = channels / VECTOR, count = images * length * groups;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const i64 line = i / groups * channels, g = i % groups;
        float values[3 * VECTOR], gradients[3 * VECTOR];
        around(values, x + line, g, groups);
        around(gradients, dy + line, g, groups);
        // t of the channels from kHigh before the vector to kLow behind it; dy d^-BETA of the vector itself.
        float t[VECTOR + SIZE - 1], direct[VECTOR];
#pragma unroll
        for (int k = 0; k < VECTOR + SIZE - 1; ++k) {
            const int at = VECTOR + k - kHigh;
            const i64 channel = g * VECTOR + at - VECTOR;
            // Beyond the edge d may be 0, and nothing of it may come in.
            const bool inside = channel >= 0 && channel < channels;
            const float d = denominator(values + at - kLow), scaled = inside ? gradients[at] * power(d) : 0.0f;
            t[k] = inside ? scaled * values[at] / d : 0.0f;
            if (k >= kHigh && k < kHigh + VECTOR) direct[k - kHigh] = scaled;
        }
        Vec<float, VECTOR> out;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            float sum = 0.0f;
#pragma unroll
            for (int k = 0; k < SIZE; ++k) sum += t[e + k];
            out[e] = direct[e] - 2.0f * BETA * SCALE * values[VECTOR + e] * sum;
        }
        store(dx + i * VECTOR, from_float<T>(out));
    }
#else
    const i64 places = length / VECTOR, count = images * places;
    for (i64 i = global_thread(); i < count; i += global_threads()) {
        const i64 start = i / places * channels * length + i % places * VECTOR;
        // x of the channels j - kLow .. j + kHigh, t of j - SIZE + 1 .. j, dy d^-BETA of j - kLow .. j.
        float window[VECTOR][SIZE], t[VECTOR][SIZE], direct[VECTOR][kLow + 1];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
#pragma unroll
            for (int k = 0; k < SIZE; ++k) window[e][k] = t[e][k] = 0.0f;
#pragma unroll
            for (int k = 0; k <= kLow; ++k) direct[e][k] = 0.0f;
        }
#pragma unroll 2
        for (i64 c = 0; c < channels + kHigh + kLow; ++c) {
            const i64 j = c - kHigh;
            Vec<float, VECTOR> next, gradient, out;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) next[e] = gradient[e] = 0.0f;
            if (c < channels) next = to_float(load_once<VECTOR>(x + start + c * length));
            // Beyond the edge d may be 0, and nothing of it may come in.
            const bool inside = j >= 0 && j < channels;
            if (inside) gradient = to_float(load_once<VECTOR>(dy + start + j * length));
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
#pragma unroll
                for (int k = 0; k + 1 < SIZE; ++k) window[e][k] = window[e][k + 1], t[e][k] = t[e][k + 1];
#pragma unroll
                for (int k = 0; k < kLow; ++k) direct[e][k] = direct[e][k + 1];
                window[e][SIZE - 1] = next[e];
                const float d = denominator(window[e]);
                direct[e][kLow] = inside ? gradient[e] * power(d) : 0.0f;
                t[e][SIZE - 1] = inside ? direct[e][kLow] * window[e][kLow] / d : 0.0f;
                float sum = 0.0f;
#pragma unroll
                for (int k = 0; k < SIZE; ++k) sum += t[e][k];
                out[e] = direct[e][0] - 2.0f * BETA * SCALE * window[e][0] * sum;
            }
            if (j >= kLow) store(dx + start + (j - kLow) * length, from_float<T>(out));
        }
    }
#endif
}
