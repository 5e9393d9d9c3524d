// The mask of inverted dropout for neighbouring elements, drawn from Philox (philox.cuh) wherever it is needed, never stored.
//
// Element i is kept where the uniform number of word i % 4 of Philox block i / 4 is at least p; compared as integers, word >> 8
// against THRESHOLD = ceil(p 2^24), so the mask is bit-equal on every device and for every dtype. Kept elements are multiplied by
// SCALE = 1 / (1 - p). Seed and offset are read from device memory: a replayed graph draws afresh.
// What a block of four costs: 10 rounds of two 32 x 32 -> 64 products (half rate) and two xors of three operands; the round
// keys depend on the seed alone, so blocks drawn side by side share them.
#pragma once
#include "philox.cuh"

#ifndef DROPOUT  // 0: nothing is dropped; SCALE still applies
#define DROPOUT 0
#endif
#ifndef THRESHOLD
#define THRESHOLD 8388608u
#endif
#ifndef SCALE
#define SCALE 1.0f
#endif
#ifndef STREAM
#define STREAM 0u
#endif

namespace gpuengine {

struct Dropout {
    u64 seed;
    u32 offset;

    // All threads of the warp call; state is i64[2], seed and offset, read once per warp.
    DEVICE explicit Dropout(const i64* state) : seed(0), offset(0) {
        if (!DROPOUT) return;
        const int lane = lane_index();
        const u64 own = lane < 2 ? static_cast<u64>(state[lane]) : 0;
        seed = __shfl_sync(kFullMask, own, 0);
        offset = static_cast<u32>(__shfl_sync(kFullMask, own, 1));
    }

    // Drops and scales N elements, a power of two; first, the index of the first one, is a multiple of N.
    template <int N>
    DEVICE void apply(Vec<float, N>& v, i64 first) const {
        if (!DROPOUT) {
#pragma unroll
            for (int e = 0; e < N; ++e) v[e] *= SCALE;
            return;
        }
        constexpr int kQuads = N < 4 ? 1 : N / 4;
#pragma unroll
        for (int q = 0; q < kQuads; ++q) {
            const auto words = random_words(seed, STREAM, offset, (static_cast<u64>(first) >> 2) + q);
#pragma unroll
            for (int e = 0; e < (N < 4 ? N : 4); ++e) {
                // Registers have no index: fewer than four elements choose among constants.
                u32 word = words[e];
                if (N == 2) word = first & 2 ? words[(e + 2) % 4] : word;
                if (N == 1) word = first & 2 ? (first & 1 ? words[3] : words[2]) : (first & 1 ? words[1] : word);
                v[q * 4 + e] = (word >> 8) >= THRESHOLD ? v[q * 4 + e] * SCALE : 0.0f;
            }
        }
    }
};

}  // namespace gpuengine
