// Reductions over a warp and a block, in a fixed order: the result depends on the data only, and every thread gets the
// same bits. The block must have a whole number of warps, and all its threads must call.
#pragma once
#include "platform.cuh"

namespace gpuengine {

struct Sum {
    template <class T>
    DEVICE T operator()(T a, T b) const {
        return a + b;
    }
};
struct Max {
    template <class T>
    DEVICE T operator()(T a, T b) const {
        return a < b ? b : a;
    }
};
struct Min {
    template <class T>
    DEVICE T operator()(T a, T b) const {
        return b < a ? b : a;
    }
};

// Types of several words add an overload of shuffle_xor (see moments.cuh).
template <class T>
DEVICE T shuffle_xor(T value, int lane_mask) {
    return __shfl_xor_sync(kFullMask, value, lane_mask);
}

// Over groups of Width neighbouring lanes. The lane with the lower index is always the left operand, so that an
// operation whose rounding depends on the order still gives all lanes one result.
template <int Width = kWarpSize, class T, class Op>
DEVICE T warp_reduce(T value, Op op) {
    static_assert(Width >= 1 && Width <= kWarpSize && (Width & (Width - 1)) == 0, "a group is a power of two of lanes");
    const int lane = lane_index();
#pragma unroll
    for (int step = 1; step < Width; step *= 2) {
        const T other = shuffle_xor(value, step);
        value = lane & step ? op(other, value) : op(value, other);
    }
    return value;
}

template <int Width = kWarpSize, class T>
DEVICE T warp_sum(T value) {
#pragma unroll
    for (int step = 1; step < Width; step *= 2) value = value + shuffle_xor(value, step);
    return value;
}

template <int Width = kWarpSize, class T>
DEVICE T warp_max(T value) {
    return warp_reduce<Width>(value, Max());
}

// Over the block; `identity` leaves any value as it is. Ends with a barrier, so it can be called again at once.
template <class T, class Op>
DEVICE T block_reduce(T value, Op op, T identity) {
    __shared__ T partial[kWarpSize];
    const int lane = lane_index(), warps = block_threads() / kWarpSize;
    value = warp_reduce(value, op);
    if (lane == 0) partial[warp_index()] = value;
    __syncthreads();
    value = warp_reduce(lane < warps ? partial[lane] : identity, op);
    __syncthreads();
    return value;
}

template <class T>
DEVICE T block_sum(T value) {
    return block_reduce(value, Sum(), T(0));
}

}  // namespace gpuengine
