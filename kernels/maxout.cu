// Maxout: the maximum over PIECES neighbouring channels, and which piece it was, as one byte; the backward pass reads that byte
// in place of x. The first maximum counts; NaN counts as the largest.
//
//   maxout_..._naive                one result per thread; also the second oracle
//   maxout_forward, maxout_backward  vectors of VECTOR results (places) per thread; with ADJACENT (one place per group, PIECES
//                                    divides a vector) vectors of x, whose groups lie side by side, so that both sides coalesce
//
// Layout: x, dx [outer, C PIECES, length], y, dy, index [outer, C, length], contiguous; VECTOR divides length unless ADJACENT.
// With length 1 and other PIECES, VECTOR is 1 and a warp's accesses are PIECES apart: the first-level cache serves the rest.
// Bytes per result (T = bytes of the storage type): (PIECES + 1) T + 1, forward and backward. Live registers: PIECES vectors (4
// each, at most 8 on their way at once), one index per element: below 56. No arithmetic.
// x and y are never one tensor.
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PIECES
#define PIECES 2
#endif
#ifndef ADJACENT
#define ADJACENT 0
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(PIECES >= 1 && PIECES <= 256, "a byte holds the piece");
static_assert(!ADJACENT || VECTOR % PIECES == 0, "a vector holds whole groups");

constexpr int kResults = ADJACENT ? VECTOR / PIECES : VECTOR;  // of a vector
constexpr int kAtOnce = PIECES < 8 ? PIECES : 8;

// Takes the next piece's value into account.
DEVICE void challenge(T& best, u8& place, T other, int piece) {
    const float a = to_float(best), b = to_float(other);
    if (a == a && !(b <= a)) {
        best = other;
        place = static_cast<u8>(piece);
    }
}

// Where the first piece of a result lies.
DEVICE i64 first_piece(i64 result, i64 length) {
    return length == 1 ? result * PIECES : result / length * length * PIECES + result % length;
}

// One result: what is left over when results do not fill vectors, and everything in the naive kernels.
DEVICE void one_forward(T* y, u8* index, const T* x, i64 result, i64 length) {
    const i64 first = first_piece(result, length);
    T best = x[first];
    u8 place = 0;
    for (int j = 1; j < PIECES; ++j) challenge(best, place, x[first + j * length], j);
    y[result] = best;
    index[result] = place;
}

DEVICE void one_backward(T* dx, const T* dy, const u8* index, i64 result, i64 length) {
    const i64 first = first_piece(result, length);
    const T g = dy[result];
    const int place = index[result];
    for (int j = 0; j < PIECES; ++j) dx[first + j * length] = j == place ? g : from_float<T>(0.0f);
}

extern "C" __global__ void __launch_bounds__(256)
    maxout_forward_naive(T* y, u8* index, const T* x, i64 count, i64 length) {
    for (i64 i = global_thread(); i < count; i += global_threads()) one_forward(y, index, x, i, length);
}

extern "C" __global__ void __launch_bounds__(256)
    maxout_backward_naive(T* dx, const T* dy, const u8* index, i64 count, i64 length) {
    for (i64 i = global_thread(); i < count; i += global_threads()) one_backward(dx, dy, index, i, length);
}

extern "C" __global__ void __launch_bounds__(256) maxout_forward(T* y, u8* index, const T* x, i64 count, i64 length) {
    const i64 vectors = count / kResults;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        Vec<T, kResults> best;
        Vec<u8, kResults> place{};
        if (ADJACENT) {
            const auto v = load<VECTOR>(x + i * VECTOR);
#pragma unroll
            for (int r = 0; r < kResults; ++r) {
                best[r] = v[r * PIECES];
#pragma unroll
                for (int j = 1; j < PIECES; ++j) challenge(best[r], place[r], v[(r * PIECES + j) % VECTOR], j);
            }
        } else {
            const i64 first = first_piece(i * kResults, length);
            best = load<kResults>(x + first);
#pragma unroll kAtOnce
            for (int j = 1; j < PIECES; ++j) {
                const auto other = load<kResults>(x + first + j * length);
#pragma unroll
                for (int r = 0; r < kResults; ++r) challenge(best[r], place[r], other[r], j);
            }
        }
        store(y + i * kResults, best);
        store(index + i * kResults, place);
    }
    const i64 rest = vectors * kResults + global_thread();
    if (rest < count) one_forward(y, index, x, rest, length);
}

extern "C" __global__ void __launch_bounds__(256)
    maxout_backward(T* dx, const T* dy, const u8* index, i64 count, i64 length) {
    const i64 vectors = count / kResults;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        const auto g = load<kResults>(dy + i * kResults);
        const auto place = load<kResults>(index + i * kResults);
        const i64 first = first_piece(i * kResults, length);
        if (ADJACENT) {
            Vec<T, VECTOR> d;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e)
                d[e] = place[e / PIECES % kResults] == e % PIECES ? g[e / PIECES % kResults] : from_float<T>(0.0f);
            store(dx + i * VECTOR, d);
            continue;
        }
#pragma unroll kAtOnce
        for (int j = 0; j < PIECES; ++j) {
            Vec<T, kResults> d;
#pragma unroll
            for (int r = 0; r < kResults; ++r) d[r] = place[r] == j ? g[r] : from_float<T>(0.0f);
            store(dx + first + j * length, d);
        }
    }
    const i64 rest = vectors * kResults + global_thread();
    if (rest < count) one_backward(dx, dy, index, rest, length);
}
