// The sign bits that relu above a residual keeps for its gradient, as src/GpuEngine.Core/Graph/Ops/Norms/SignMask.cs defines them: PACK
// neighbouring channels (or places of a plane) to a byte, rows of channels as [C / PACK, rows], planes as [N, C, length / PACK].
// A thread has the bits of a batch as one word, byte j for its j-th position.
#pragma once
#include "slices.cuh"

#ifndef PACK
#define PACK VECTOR
#endif

namespace gpuengine {

constexpr int kBytePart = PACK / VECTOR;  // threads that share a byte

static_assert(PACK % VECTOR == 0 && PACK <= 8, "a byte has whole vectors");
static_assert(PLANES || kBytePart <= WIDTH, "a slice has whole bytes");

DEVICE int byte_part(const Layout& at) { return (PLANES ? lane_index() : at.column) % kBytePart; }

DEVICE i64 mask_offset(const Layout& at, u32 channel, u32 position) {
    return PLANES ? at.offset(position, channel) / PACK : static_cast<i64>(static_cast<u64>(channel / PACK) * at.positions + position);
}

// Whether the bytes of a whole batch are one aligned word.
using MaskWord = typename Piece<BATCH>::type;
DEVICE bool is_word(const Layout& at, int n) { return !PLANES && n == BATCH && at.positions % BATCH == 0; }

// All lanes of the warp call; n is 0 where there is nothing to store.
DEVICE void store_mask(u8* mask, u32 bits, const Layout& at, u32 channel, u32 position, int n) {
    const int part = byte_part(at);
    bits <<= part * VECTOR;
#pragma unroll
    for (int step = 1; step < kBytePart; step *= 2) bits |= shuffle_xor(bits, step);
    if (part != 0) return;
    if (is_word(at, n)) {
        *reinterpret_cast<MaskWord*>(mask + mask_offset(at, channel, position)) = static_cast<MaskWord>(bits);
        return;
    }
#pragma unroll
    for (int j = 0; j < BATCH; ++j)
        if (j < n) mask[mask_offset(at, channel, position + j * kStep)] = static_cast<u8>(bits >> 8 * j);
}

// The bits of the thread's own elements lowest in each byte.
DEVICE u32 load_mask(const u8* mask, const Layout& at, u32 channel, u32 position, int n) {
    u32 bits = 0;
    if (is_word(at, n)) {
        bits = *reinterpret_cast<const MaskWord*>(mask + mask_offset(at, channel, position));
    } else {
#pragma unroll
        for (int j = 0; j < BATCH; ++j)
            if (j < n) bits |= static_cast<u32>(mask[mask_offset(at, channel, position + j * kStep)]) << 8 * j;
    }
    return bits >> byte_part(at) * VECTOR;
}

}  // namespace gpuengine
