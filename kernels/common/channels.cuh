// How the kernels that reduce over a batch see x [N, C, length]: per channel, as a list of positions, each one vector of the row.
// PLANES 0 (length 1): a vector holds VECTOR neighbouring channels of one row; GROUPS vectors side by side make a block's
// slice. PLANES 1: a vector holds VECTOR places of one channel, and a block has one channel (GROUPS is 1).
// Thread t has vector t % GROUPS of the slice and positions t / GROUPS, + kLanes, + 2 kLanes, ...
#pragma once
#include "moments.cuh"
#include "vector.cuh"

#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PLANES
#define PLANES 0
#endif
#ifndef GROUPS
#define GROUPS 2
#endif
#ifndef THREADS
#define THREADS 256
#endif

namespace gpuengine {

static_assert(GROUPS >= 1 && GROUPS <= kWarpSize && (GROUPS & (GROUPS - 1)) == 0, "a warp holds whole slices");
static_assert(!PLANES || GROUPS == 1, "with planes a block has one channel");
static_assert(THREADS % kWarpSize == 0 && THREADS <= 1024, "a block is whole warps");

constexpr int kLanes = THREADS / GROUPS;                 // threads that share a vector of channels
constexpr int kThreadChannels = PLANES ? 1 : VECTOR;     // channels that a thread has a part of
constexpr int kSliceChannels = PLANES ? 1 : GROUPS * VECTOR;

// Of a thread: where its data is.
struct Slice {
    i64 channels, length, positions;  // positions of a channel: N, or N length / VECTOR
    i64 first;                        // its first channel
    int group, lane;
    bool valid;                       // the last slice may reach beyond the channels

    DEVICE Slice(i64 n, i64 c, i64 l) : channels(c), length(l) {
        group = static_cast<int>(threadIdx.x) % GROUPS;
        lane = static_cast<int>(threadIdx.x) / GROUPS;
        positions = PLANES ? n * l / VECTOR : n;
        first = PLANES ? blockIdx.x : (static_cast<i64>(blockIdx.x) * GROUPS + group) * VECTOR;
        valid = first < channels;
    }
    DEVICE i64 offset(i64 position) const {
        if (!PLANES) return position * channels + first;
        const i64 vectors = length / VECTOR;
        return (position / vectors * channels + first) * length + position % vectors * VECTOR;
    }
    // Whether this thread reads the parameters of its channels and writes their results: one of those that share them.
    DEVICE bool leads() const { return valid && lane == 0; }
    // Where a channel of this thread stands among those of the block.
    DEVICE int local(int c) const { return group * kThreadChannels + c; }
};

DEVICE constexpr int channel_of_element(int e) { return PLANES ? 0 : e; }

// Over the threads of a block that share channels, in a fixed order; every one of them gets the result.
template <class V, class Op>
DEVICE void slice_reduce(V (&values)[kThreadChannels], Op op) {
    __shared__ V partial[THREADS / kWarpSize][GROUPS][kThreadChannels];
    const int lane = lane_index(), group = lane % GROUPS;
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) {
#pragma unroll
        for (int step = GROUPS; step < kWarpSize; step *= 2) {
            const V other = shuffle_xor(values[c], step);
            values[c] = lane & step ? op(other, values[c]) : op(values[c], other);
        }
        if (lane < GROUPS) partial[warp_index()][group][c] = values[c];
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) {
        values[c] = partial[0][group][c];
        for (int w = 1; w < THREADS / kWarpSize; ++w) values[c] = op(values[c], partial[w][group][c]);
    }
    __syncthreads();
}

}  // namespace gpuengine
