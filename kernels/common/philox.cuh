// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), the engine's random numbers on every device.
// Contract: element i of a tensor uses word i % 4 of the block with counter (low i/4, high i/4, stream, offset) and the
// 64-bit seed as key; a uniform number is (word >> 8) * 2^-24, in [0, 1).
#pragma once
#include "vector.cuh"

namespace gpuengine {

DEVICE Vec<u32, 4> philox4x32(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u32 low0 = 0xD2511F53u * c0, high0 = __umulhi(0xD2511F53u, c0);
        const u32 low1 = 0xCD9E8D57u * c2, high1 = __umulhi(0xCD9E8D57u, c2);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    Vec<u32, 4> words;
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
    return words;
}

// The four words of elements 4 * quad ... 4 * quad + 3.
DEVICE Vec<u32, 4> random_words(u64 seed, u32 stream, u32 offset, u64 quad) {
    return philox4x32(static_cast<u32>(quad), static_cast<u32>(quad >> 32), stream, offset, static_cast<u32>(seed),
                      static_cast<u32>(seed >> 32));
}

DEVICE float uniform(u32 word) { return static_cast<float>(word >> 8) * 5.9604644775390625e-8f; }

}  // namespace gpuengine
