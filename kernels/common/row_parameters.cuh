// Weight and bias of the rows of common/rows.cuh. With ELEMENTS they belong to a thread's vectors whatever the row, and stay on the
// chip from row to row; else they belong to units, and the first lane of a team reads them for each row.
#pragma once
#include "rows.cuh"

#ifndef PARAM_ALIGNED  // weight and bias start at a multiple of 16 bytes
#define PARAM_ALIGNED 1
#endif
#ifndef PARAMS  // where the parameters of vectors stay: 0 nowhere, 1 in registers, 2 in shared memory
#define PARAMS 1
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef WITH_BIAS
#define WITH_BIAS 1
#endif

namespace gpuengine {

template <class P>
struct RowParameters {
    // One access of at most 16 bytes; kPieces of them make the parameters of a vector.
    static constexpr int kPiece = VECTOR * static_cast<int>(sizeof(P)) > 16 ? 16 / static_cast<int>(sizeof(P)) : VECTOR;
    static constexpr int kPieces = VECTOR / kPiece;
    static constexpr int kOwn = HELD * kPieces;
    static constexpr bool kKept = AFFINE && ELEMENTS && PARAMS == 1;
    using Piece = Vec<P, kPiece>;

    const P *weight, *bias;
    Piece* shared;  // weights, then biases: of piece i those of all lanes side by side
    Piece own_weight[kKept ? kOwn : 1], own_bias[kKept && WITH_BIAS ? kOwn : 1];
    float unit_weight[ROWS][UNITS], unit_bias[ROWS][UNITS];

    DEVICE RowParameters(const P* w, const P* b, void* memory) : weight(w), bias(b), shared(static_cast<Piece*>(memory)) {}

    DEVICE static Piece read(const P* from) {
        if (PARAM_ALIGNED) return load<kPiece>(from);
        Piece p;
#pragma unroll
        for (int e = 0; e < kPiece; ++e) p[e] = from[e];
        return p;
    }
    // Where piece i of the thread's lane starts.
    DEVICE static i64 offset(const Place& place, int i) { return place.vector(i / kPieces) * VECTOR + i % kPieces * kPiece; }
    DEVICE Piece* place_of(int i) const { return shared + i * LANES + static_cast<int>(threadIdx.x) % LANES; }

    // Once per block, by all its threads: reads what stays, once for all slots.
    DEVICE void keep(const Place& place, i64 vectors) {
        if (!AFFINE || !ELEMENTS || PARAMS == 0) return;
        constexpr bool through = PARAMS == 2 || (kSlots > 1 && !GROUPED);  // shared memory
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
            if (!place.has(0, i / kPieces, 1, vectors) || (through && place.slot != 0)) continue;
            const Piece w = read(weight + offset(place, i));
            if (through) *place_of(i) = w;
            else own_weight[kKept ? i : 0] = w;
            if (!WITH_BIAS) continue;
            const Piece b = read(bias + offset(place, i));
            if (through) *place_of(kOwn + i) = b;
            else own_bias[kKept ? i : 0] = b;
        }
        if (!through) return;
        __syncthreads();
        if (PARAMS == 2) return;
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
            if (!place.has(0, i / kPieces, 1, vectors)) continue;
            own_weight[kKept ? i : 0] = *place_of(i);
            if (WITH_BIAS) own_bias[kKept ? i : 0] = *place_of(kOwn + i);
        }
    }
    // Of the thread's vector h.
    DEVICE void get(const Place& place, int h, Vec<float, VECTOR>& w, Vec<float, VECTOR>& b) const {
        if (!AFFINE || !ELEMENTS) return;
#pragma unroll
        for (int q = 0; q < kPieces; ++q) {
            const int i = h * kPieces + q;
            const Piece pw = PARAMS == 1 ? own_weight[kKept ? i : 0] : PARAMS == 2 ? *place_of(i) : read(weight + offset(place, i));
#pragma unroll
            for (int e = 0; e < kPiece; ++e) w[q * kPiece + e] = to_float(pw[e]);
            if (!WITH_BIAS) continue;
            const Piece pb = PARAMS == 1 ? own_bias[kKept ? i : 0] : PARAMS == 2 ? *place_of(kOwn + i) : read(bias + offset(place, i));
#pragma unroll
            for (int e = 0; e < kPiece; ++e) b[q * kPiece + e] = to_float(pb[e]);
        }
    }
    // Of the units that the thread has a part of, in its row r, whose first unit has parameter `first`; all lanes call.
    DEVICE void read_units(const Place& place, int r, i64 first, i64 units, bool exists) {
        if (!AFFINE || ELEMENTS) return;
#pragma unroll
        for (int k = 0; k < UNITS; ++k) {
            const bool reads = exists && place.unit(k) < units && lane_index() % kTeamWidth == 0;
            const float w = reads ? to_float(weight[first + place.unit(k)]) : 0.0f;
            unit_weight[r][k] = kTeamWidth == 1 ? w : __shfl_sync(kFullMask, w, 0, kTeamWidth);
            if (!WITH_BIAS) continue;
            const float b = reads ? to_float(bias[first + place.unit(k)]) : 0.0f;
            unit_bias[r][k] = kTeamWidth == 1 ? b : __shfl_sync(kFullMask, b, 0, kTeamWidth);
        }
    }
};

}  // namespace gpuengine
