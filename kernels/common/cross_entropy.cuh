// What all cross entropy kernels have in common: the target of a line, the loss and the gradient's coefficients that follow from
// it, and the totals over the grid. Compile-time parameters: DTYPE, INDEX_DTYPE, REDUCTION, WEIGHTED, SMOOTHING, IGNORE_INDEX.
#pragma once
#include "grid.cuh"
#include "math.cuh"
#include "reduce.cuh"
#include "vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef INDEX_DTYPE
#define INDEX_DTYPE i64
#endif
#ifndef REDUCTION  // 0 mean, 1 sum, 2 none
#define REDUCTION 0
#endif
#ifndef WEIGHTED
#define WEIGHTED 0
#endif
#ifndef SMOOTHING
#define SMOOTHING 0.0f
#endif
#ifndef IGNORE_INDEX
#define IGNORE_INDEX -100
#endif

namespace gpuengine {

constexpr bool kSmooth = SMOOTHING != 0.0f;
constexpr i32 kIgnored = -1, kInvalid = -2;

// The class that a line is meant to have, or kIgnored, or kInvalid for an index that is no class.
DEVICE i32 as_class(i64 t, i64 classes) {
    return t == IGNORE_INDEX ? kIgnored : t >= 0 && t < classes ? static_cast<i32>(t) : kInvalid;
}

DEVICE i32 read_class(const INDEX_DTYPE* target, i64 line, i64 classes) { return as_class(target[line], classes); }

// How much a target counts: NaN where it is no class, so that the loss shows it.
DEVICE float class_weight(i32 target, const DTYPE* weight) {
    if (target < 0) return target == kIgnored ? 0.0f : quiet_nan();
    return WEIGHTED ? to_float(weight[target]) : 1.0f;
}

// The loss of a line before the reduction. `below` is maximum - x[target]; `smooth` the sum over all classes of
// weight -log softmax. Where a line does not count its logarithm is not looked at: it may be infinite.
DEVICE float line_loss(i32 target, float weight, float below, float log_sum, float smooth, i64 classes) {
    float value = weight == 0.0f ? 0.0f : target >= 0 ? (log_sum + below) * weight : weight;
    if (kSmooth) value = value * (1.0f - SMOOTHING) + (target == kIgnored ? 0.0f : smooth * (SMOOTHING / static_cast<float>(classes)));
    return value;
}

DEVICE float log_of_sum(float sum) { return sum == 0.0f ? quiet_nan() : logf(sum); }

// Of a line's gradient p total - k: the coefficient of its target, and the sum of all. share: what smoothing gives a class of
// weight 1; class_weights: the sum of all weights.
struct Coefficients {
    float hit, total;
    DEVICE Coefficients(i32 target, float weight, float share, float class_weights) {
        hit = target >= 0 ? weight * (1.0f - SMOOTHING) : 0.0f;
        total = kSmooth ? hit + share * class_weights : hit;
    }
};

// The sum of the classes' weights where smoothing needs it; all threads of the block call.
DEVICE float sum_of_class_weights(const DTYPE* weight, i64 classes) {
    if (!kSmooth) return 0.0f;
    if (!WEIGHTED) return static_cast<float>(classes);
    float sum = 0.0f;
    for (i64 c = threadIdx.x; c < classes; c += blockDim.x) sum += to_float(weight[c]);
    return block_sum(sum);
}

// Counters of one launch, 16 bytes of zeros that it leaves as zeros (but for the barrier's, which needs no reset). `targets` has, from
// the top: 16 bits of blocks that have counted, 16 of those that met an index that is no class, 32 of targets.
struct LossCounters {
    unsigned long long targets;
    u32 barrier, last;
};
constexpr int kArrivedShift = 48, kInvalidShift = 32;

// What the mean divides by, the same for all threads of the grid, from each thread's share: how many of its targets count, their
// weight, and whether one is no class. Counts meet in one atomic, which is the barrier too; weights are added by block in order. The
// launch is cooperative unless it has one block. `partial`: one float per block if WEIGHTED, apart from those of grid_totals, which early
// blocks write while others still read these.
DEVICE float grid_divisor(i32 targets, float weights, bool invalid, float* partial, LossCounters* counters) {
    if (WEIGHTED) {  // the weight of an index that is no class is NaN
        weights = block_sum(weights);
        if (gridDim.x == 1) return weights;
        if (threadIdx.x == 0) partial[blockIdx.x] = weights;
        grid_sync(&counters->barrier);
        weights = 0.0f;
        for (u32 b = threadIdx.x; b < gridDim.x; b += blockDim.x) weights += partial[b];
        return block_sum(weights);
    }
    const bool any = __syncthreads_or(invalid) != 0;
    targets = block_sum(targets);
    if (gridDim.x == 1) return any ? quiet_nan() : static_cast<float>(targets);
    __shared__ unsigned long long all;
    if (threadIdx.x == 0) {
#ifdef __CUDASIM__
        cudasim_grid_barrier_used();
#endif
        const unsigned long long own = 1ull << kArrivedShift | static_cast<unsigned long long>(any) << kInvalidShift | static_cast<u32>(targets);
        unsigned long long seen = atomicAdd(&counters->targets, own) + own;
        while (seen >> kArrivedShift != gridDim.x) {
            spin();
            seen = *static_cast<const volatile unsigned long long*>(&counters->targets);
        }
        all = seen;
    }
    __syncthreads();
    return (all >> kInvalidShift & 0xffffu) != 0 ? quiet_nan() : static_cast<float>(static_cast<u32>(all));
}

struct LossTotals {
    float losses, weights;
    i32 correct;
    DEVICE LossTotals operator+(const LossTotals& o) const { return LossTotals{losses + o.losses, weights + o.weights, correct + o.correct}; }
};
DEVICE LossTotals shuffle_xor(const LossTotals& v, int mask) {
    return LossTotals{shuffle_xor(v.losses, mask), shuffle_xor(v.weights, mask), shuffle_xor(v.correct, mask)};
}

// Sums over the grid, in thread 0 of the block that ends last (true there and only there): the threads of a block as a tree, the
// blocks as many interleaved sequences. `partial`: three words per block.
DEVICE bool grid_totals(float& losses, float& weights, i32& correct, float* partial, u32* last) {
    LossTotals total = block_reduce(LossTotals{losses, weights, correct}, Sum(), LossTotals{0.0f, 0.0f, 0});
    const u32 blocks = gridDim.x;
    if (blocks > 1) {
        if (threadIdx.x == 0) {
            partial[blockIdx.x] = total.losses;
            partial[blocks + blockIdx.x] = total.weights;
            partial[2 * blocks + blockIdx.x] = __int_as_float(total.correct);
        }
        if (!is_last_block(last)) return false;
        total = LossTotals{0.0f, 0.0f, 0};
        for (u32 b = threadIdx.x; b < blocks; b += blockDim.x)
            total = total + LossTotals{partial[b], partial[blocks + b], __float_as_int(partial[2 * blocks + b])};
        total = block_reduce(total, Sum(), LossTotals{0.0f, 0.0f, 0});
    }
    losses = total.losses;
    weights = total.weights;
    correct = total.correct;
    return threadIdx.x == 0;
}

}  // namespace gpuengine
