// Rows of contiguous classes as the kernels of cross_entropy.cu and cross_entropy_with_gradient.cu take them: LANES threads per row,
// THREADS / LANES rows of a block at a time, HELD vectors of 16 bytes of each thread in registers. A row that starts between two vectors
// (ALIGNED 0) is taken as the vectors that it touches, the first and the last of them by element. WHOLE: a row fits into the registers of
// its threads (LANES HELD VECTOR classes). Else it goes through them in chunks of that size.
// Maximum, sum of exponentials and the largest logit before the target in one scan: the sum is rescaled when the maximum grows.
// exp(v) is 2^(v log2 e) by the hardware's instruction (relative error 2^-22 + |v| 2^-24): two per logit in a kernel that else only
// moves data.
#pragma once
#include "async_copy.cuh"
#include "cross_entropy.cuh"
#include "packed.cuh"

#ifndef LANES
#define LANES 32
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef HELD
#define HELD 4
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef ALIGNED
#define ALIGNED 1
#endif
#ifndef WHOLE
#define WHOLE 1
#endif
#ifndef BLOCKS  // at least so many per multiprocessor
#define BLOCKS 4
#endif

namespace gpuengine {

using T = DTYPE;
using Index = INDEX_DTYPE;

static_assert((LANES & (LANES - 1)) == 0 && THREADS % LANES == 0 && THREADS % kWarpSize == 0, "a warp holds whole rows, or a row whole warps");
static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");

using Vector = Packed<T, VECTOR>;

constexpr int kRows = THREADS / LANES;                                  // rows of a block at a time
constexpr int kShare = LANES < kWarpSize ? LANES : kWarpSize;           // lanes of a warp that share a row
constexpr int kWarps = LANES / kShare;                                  // warps that share a row
constexpr int kChunk = LANES * HELD;                                    // vectors of a chunk

// Where a row is, in vectors; those of a row that does not exist are none.
struct Row {
    const T* base;  // of vector 0, which may begin before the row
    i64 index;
    i32 classes, shift, vectors;
    DEVICE Row(const T* x, i64 row, i64 rows, i64 row_classes) : index(row), classes(static_cast<i32>(row_classes)) {
        const i64 begin = row < rows ? row * row_classes : 0;
        shift = ALIGNED ? 0 : static_cast<i32>(begin % VECTOR);
        base = x + (begin - shift);
        vectors = row < rows ? (classes + shift + VECTOR - 1) / VECTOR : 0;
    }
    DEVICE bool exists() const { return vectors != 0; }
    DEVICE i32 class_of(i32 vector, int e) const { return vector * VECTOR + e - shift; }
    DEVICE bool is_inside(i32 vector) const { return ALIGNED || (class_of(vector, 0) >= 0 && class_of(vector, VECTOR) <= classes); }
    DEVICE bool has(i32 c) const { return ALIGNED || (c >= 0 && c < classes); }
    DEVICE const T* address(i32 vector) const { return base + static_cast<i64>(vector) * VECTOR; }
    // Classes that the row does not have are -infinity.
    DEVICE void load(Vector& v, i32 vector) const {
        const T* const from = address(vector);
        if (is_inside(vector)) {
            load_packed<true>(v, from);
            return;
        }
        T elements[VECTOR];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) elements[e] = has(class_of(vector, e)) ? from[e] : from_float<T>(-infinity());
        v = pack(elements);
    }
    // The same to shared memory, in the background where it can be.
    DEVICE void fetch(T* shared, i32 vector) const {
        const T* const from = address(vector);
        if (is_inside(vector)) {
            async_copy<VECTOR>(shared, from);
            return;
        }
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            if (has(class_of(vector, e))) {
                async_copy<1>(shared + e, from + e);
            } else {
                shared[e] = from_float<T>(-infinity());
            }
        }
    }
    DEVICE void store(T* out, i32 vector, const Vector& v) const {
        T* const to = out + static_cast<i64>(vector) * VECTOR;
        if (is_inside(vector)) {
            store_packed<false>(to, v);
            return;
        }
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            if (has(class_of(vector, e))) to[e] = from_float<T>(v[e]);
        }
    }
    DEVICE static Vector pack(const T (&elements)[VECTOR]) {
        Vector v;
#pragma unroll
        for (int w = 0; w < Vector::kWords; ++w) {
            const int e = w * Vector::kPerWord;
            v.set_word(w, to_float(elements[e]), to_float(elements[Vector::kPerWord == 2 ? e + 1 : e]));
        }
        return v;
    }
};

// What a scan finds. Exponentials are taken against `reference`, the maximum or, where that is -infinity, the lowest finite number.
struct Scan {
    float reference, sum, before;  // before: the largest logit of the classes before the target
    DEVICE static Scan empty() { return Scan{-kMaxFloat, 0.0f, -infinity()}; }
};

DEVICE int lane_of_row() { return static_cast<int>(threadIdx.x) % LANES; }
DEVICE int row_of_block() { return static_cast<int>(threadIdx.x) / LANES; }

DEVICE void load_chunk(const Row& row, i32 first, Vector (&held)[HELD]) {
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i32 i = first + h * LANES;
        if (i < row.vectors) row.load(held[h], i);
    }
}

DEVICE void scan_chunk(const Row& row, i32 first, const Vector (&held)[HELD], i32 target, Scan& scan, float& picked) {
    const i32 holder = target < 0 ? -1 : (target + row.shift) / VECTOR;
    float largest = scan.reference;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i32 i = first + h * LANES;
        if (i >= row.vectors) continue;
        float top = held[h][0];
#pragma unroll
        for (int e = 1; e < VECTOR; ++e) top = fmaxf(top, held[h][e]);
        if (i < holder) scan.before = fmaxf(scan.before, top);
        if (i == holder) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float v = held[h][e];
                if (row.class_of(i, e) < target) scan.before = fmaxf(scan.before, v);
                if (row.class_of(i, e) == target) picked = v;
            }
        }
        largest = fmaxf(largest, top);
    }
    float sum = scan.sum * exp2_approx((scan.reference - largest) * kLog2E);
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        if (first + h * LANES >= row.vectors) continue;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum += exp2_approx((held[h][e] - largest) * kLog2E);
    }
    scan.reference = largest;
    scan.sum = sum;
}

// Over LANES neighbouring lanes of a warp, or over so many values that each warp of a row has in its first lanes.
template <int Width>
DEVICE Scan merge_lanes(Scan s) {
    const float reference = warp_max<Width>(s.reference);
    s.sum = warp_sum<Width>(s.sum * exp2_approx((s.reference - reference) * kLog2E));
    s.before = warp_max<Width>(s.before);
    s.reference = reference;
    return s;
}

// Over the threads of a row. One barrier: neighbouring rows of a block's sequence use the two halves of the shared array in turn.
DEVICE Scan merge_row(Scan s, int turn) {
    __shared__ Scan partial[2][THREADS / kWarpSize];
    s = merge_lanes<kShare>(s);
    if (kWarps == 1) return s;
    if (lane_index() == 0) partial[turn][warp_index()] = s;
    __syncthreads();
    return merge_lanes<kWarps>(partial[turn][warp_index() / kWarps * kWarps + lane_index() % kWarps]);
}

DEVICE float sum_row(float v, int turn) {
    __shared__ float partial[2][THREADS / kWarpSize];
    v = warp_sum<kShare>(v);
    if (kWarps == 1) return v;
    if (lane_index() == 0) partial[turn][warp_index()] = v;
    __syncthreads();
    return warp_sum<kWarps>(partial[turn][warp_index() / kWarps * kWarps + lane_index() % kWarps]);
}

// A row's target as it is stored, read by the first of the lanes that share it; nobody waits for it yet.
DEVICE Index read_target(const Row& row, const Index* target) {
    return row.exists() && lane_index() % kShare == 0 ? target[row.index] : static_cast<Index>(IGNORE_INDEX);
}

// The class of it, in all of them.
DEVICE i32 share_target(Index raw, const Row& row) {
    return __shfl_sync(kFullMask, as_class(raw, row.classes), lane_index() / kShare * kShare);
}

DEVICE float read_weight(i32 target, const T* weight) {
    if (!WEIGHTED) return class_weight(target, weight);
    const float w = lane_index() % kShare == 0 ? class_weight(target, weight) : 0.0f;
    return __shfl_sync(kFullMask, w, lane_index() / kShare * kShare);
}

// The thread that holds a row's target, or the first one where there is none: it finishes the row.
DEVICE bool finishes(const Row& row, i32 target) {
    return row.exists() && lane_of_row() == (target < 0 ? 0 : (target + row.shift) / VECTOR % LANES);
}

// A thread's part of the sum over the classes of weight (x - maximum), which smoothing needs.
DEVICE float smooth_sum(const Row& row, i32 vector, const Vector& v, float reference, const T* weight) {
    float sum = 0.0f;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        const i32 c = row.class_of(vector, e);
        if (row.has(c)) sum += (v[e] - reference) * (WEIGHTED ? to_float(weight[c]) : 1.0f);
    }
    return sum;
}

// The gradient of one vector but for its target's class: p factor - share weight. Zero where the target is ignored (not a product with 0:
// the mean over nothing but ignored targets is NaN, their gradients are 0).
struct alignas(16) RowGradient {
    float reference, factor, share;  // share times scale
    u32 mask;                        // 0 where the target is ignored
    DEVICE float of(float x, float weight) const {
        const float g = exp2_approx((x - reference) * kLog2E) * factor;
        return kSmooth ? g - weight * share : g;
    }
    DEVICE Vector operator()(const Row& row, i32 vector, const Vector& v, const T* weight) const {
        Vector out;
#pragma unroll
        for (int w = 0; w < Vector::kWords; ++w) {
            float g[2];
#pragma unroll
            for (int k = 0; k < Vector::kPerWord; ++k) {
                const int e = w * Vector::kPerWord + k;
                const i32 c = row.class_of(vector, e);
                g[k] = of(v[e], !kSmooth || !row.has(c) ? 0.0f : WEIGHTED ? to_float(weight[c]) : 1.0f);
            }
            out.set_word(w, g[0], g[Vector::kPerWord - 1]);
            out.word[w] &= mask;
        }
        return out;
    }
};

}  // namespace gpuengine
