// The global 2-norm of gradients over up to two arenas, cut into pieces so that the order of the sum depends on the sizes alone; and, if
// SEGMENTS, the same per segment of the arenas laid end to end (a segment being one parameter's gradient).
// Squares are added in f64: those of f32 gradients cannot overflow it.
#pragma once
#include "math.cuh"
#include "packed.cuh"
#include "reduce.cuh"

#ifndef MAX_NORM
#define MAX_NORM 1.0f
#endif
#ifndef INCLUSIVE
#define INCLUSIVE 0
#endif
#ifndef SEGMENTS  // how many; their first elements and first pieces, each with an end, are SEGMENT_STARTS and SEGMENT_PIECES
#define SEGMENTS 0
#endif
#ifndef SEGMENT_STARTS
#define SEGMENT_STARTS 0
#endif
#ifndef SEGMENT_PIECES
#define SEGMENT_PIECES 0
#endif

namespace gpuengine {

#if SEGMENTS
__constant__ i64 segment_starts[SEGMENTS + 1] = {SEGMENT_STARTS};
__constant__ i32 segment_pieces[SEGMENTS + 1] = {SEGMENT_PIECES};
#endif

DEVICE double square_of(float x) { return static_cast<double>(x) * static_cast<double>(x); }

// One piece of the gradients: neighbouring elements of one arena.
struct GradientPiece {
    int arena;
    i64 begin, count;
};

// Where piece number `index` of `length` elements is (the last of a segment or an arena may be shorter).
DEVICE GradientPiece find_piece(i64 index, i64 length, i64 count0, i64 count1) {
#if SEGMENTS
    int low = 0, high = SEGMENTS;  // the last segment whose first piece is not behind
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (segment_pieces[middle] <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const i64 begin = segment_starts[low] + (index - segment_pieces[low]) * length, end = min(begin + length, segment_starts[low + 1]);
    return GradientPiece{begin < count0 ? 0 : 1, begin < count0 ? begin : begin - count0, end - begin};
#else
    const i64 pieces0 = ceil_div(count0, length), begin = (index < pieces0 ? index : index - pieces0) * length;
    return GradientPiece{index < pieces0 ? 0 : 1, begin, min(length, (index < pieces0 ? count0 : count1) - begin)};
#endif
}

// Sum of squares of a piece, in all threads of the block: four vectors of each on their way.
template <int Width, int Threads, class G>
DEVICE double piece_square(const G* grad, i64 count) {
    constexpr int kFlight = 4;
    const i64 vectors = count / Width;
    double sum = 0.0, odd = 0.0;
    for (i64 base = threadIdx.x; base < vectors; base += kFlight * Threads) {
        Packed<G, Width> v[kFlight];
#pragma unroll
        for (int k = 0; k < kFlight; ++k) {
            v[k] = Packed<G, Width>::zero();
            if (base + k * Threads < vectors) load_packed<false>(v[k], grad + (base + k * Threads) * Width);
        }
        // Two sums: the addition of f64 takes longer than a load's share of the time.
#pragma unroll
        for (int k = 0; k < kFlight; ++k) {
#pragma unroll
            for (int e = 0; e < Width; ++e) (e % 2 == 0 ? sum : odd) += square_of(v[k][e]);
        }
    }
    for (i64 i = vectors * Width + threadIdx.x; i < count; i += Threads) sum += square_of(to_float(grad[i]));
    return block_sum(sum + odd);
}

// The sums of squares of this block's pieces, each where its number says. Vectored: whether addresses are multiples of 16.
template <bool Vectored, int Threads, class G0, class G1>
DEVICE void write_piece_squares(double* partial, const G0* grad0, const G1* grad1, i64 count0, i64 count1, i64 length, i64 pieces) {
    for (i64 p = blockIdx.x; p < pieces; p += gridDim.x) {
        const GradientPiece piece = find_piece(p, length, count0, count1);
        const double sum = piece.arena == 0 ? piece_square<(Vectored ? kVectorWidth<G0> : 1), Threads>(grad0 + piece.begin, piece.count)
                                            : piece_square<(Vectored ? kVectorWidth<G1> : 1), Threads>(grad1 + piece.begin, piece.count);
        if (threadIdx.x == 0) partial[p] = sum;
    }
}

// What follows from the sum of all squares. NaN stays NaN, so that a skipped check does not go unnoticed.
struct NormOfGradients {
    float norm, factor;
    DEVICE explicit NormOfGradients(double square) {
        norm = static_cast<float>(sqrt(square));
        const float scale = INCLUSIVE ? MAX_NORM / norm : MAX_NORM / (norm + 1e-6f);
        factor = INCLUSIVE ? (norm < MAX_NORM ? 1.0f : scale) : (scale > 1.0f ? 1.0f : scale);
    }
    DEVICE bool is_finite() const { return fabsf(norm) < infinity(); }
};

// From the squares of all pieces, visible to the block: the norm in all its threads.
DEVICE NormOfGradients norm_of_pieces(const double* partial, i64 pieces) {
    double sum = 0.0;
    for (i64 p = threadIdx.x; p < pieces; p += blockDim.x) sum += partial[p];
    return NormOfGradients(block_sum(sum));
}

// Thread `thread` of `threads` writes its share of the segments' squares and flags.
DEVICE void write_segments(double* square, u8* finite, const double* partial, i64 thread, i64 threads) {
#if SEGMENTS
    for (i64 s = thread; s < SEGMENTS; s += threads) {
        double sum = 0.0;
        for (i32 p = segment_pieces[s]; p < segment_pieces[s + 1]; ++p) sum += partial[p];
        square[s] = sum;
        finite[s] = fabsf(static_cast<float>(sqrt(sum))) < infinity() ? 1 : 0;
    }
#endif
}

}  // namespace gpuengine
