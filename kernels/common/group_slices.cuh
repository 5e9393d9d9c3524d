// How threads share x [batch, positions, channels] with the channels last, for norms over groups of GROUP_CHANNELS neighbouring channels
// and all positions. A slice is one sample's COLUMNS neighbouring vectors of VECTOR channels, whole groups: each position is one run of
// COLUMNS VECTOR elements. Thread t has column t % COLUMNS and of a block's positions t / COLUMNS, + kLanes, + 2 kLanes, ...; the
// threads that are left over (t >= kLanes COLUMNS) have none.
#pragma once
#include "async_copy.cuh"
#include "cluster.cuh"
#include "packed.cuh"
#include "parts.cuh"

#ifndef THREADS
#define THREADS 256
#endif
#ifndef BLOCKS  // blocks that one multiprocessor is to hold: what registers are allotted for
#define BLOCKS 1
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef COLUMNS
#define COLUMNS 8
#endif
#ifndef GROUP_CHANNELS
#define GROUP_CHANNELS 8
#endif
#ifndef CLUSTER  // blocks that share a slice
#define CLUSTER 1
#endif
#ifndef CHUNK  // vectors that a thread loads at once where it does not copy ahead
#define CHUNK 4
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef WITH_BIAS
#define WITH_BIAS 1
#endif

namespace gpuengine {

constexpr int kWarps = THREADS / kWarpSize;
constexpr int kLanes = THREADS / COLUMNS;
constexpr int kSliceChannels = COLUMNS * VECTOR;
constexpr int kSliceGroups = kSliceChannels / GROUP_CHANNELS;
// Lanes of one column that lie in a warp can be added by shuffles.
constexpr bool kShuffled = COLUMNS <= kWarpSize && (COLUMNS & (COLUMNS - 1)) == 0;
constexpr int kPartialRows = kShuffled ? kWarps : kLanes;
// Sums of a thread's vector: one where all its channels are of one group, one per group where it has whole ones, else one per channel.
constexpr int kGroupBins = GROUP_CHANNELS % VECTOR == 0 ? 1 : VECTOR % GROUP_CHANNELS == 0 ? VECTOR / GROUP_CHANNELS : VECTOR;
// Threads that put a group together: a warp where it has many channels.
constexpr int kGroupThreads = GROUP_CHANNELS >= kWarpSize ? kWarpSize : 1;

static_assert(THREADS % kWarpSize == 0 && COLUMNS <= THREADS, "a block is whole warps and has a lane per column");
static_assert(kSliceChannels % GROUP_CHANNELS == 0, "a slice is whole groups");

// Of a thread.
struct Slice {
    i64 sample, first;         // the slice's sample and first channel
    i64 channels;
    i64 begin, end;            // the block's positions of it
    int column, lane;

    // Slice `index` of all samples, its positions [piece part, piece (part + 1)).
    DEVICE Slice(i64 index, i64 part, i64 piece, i64 positions, i64 all_channels) : channels(all_channels) {
        const i64 slices = channels / kSliceChannels;
        sample = index / slices;
        first = index % slices * kSliceChannels;
        begin = min(part * piece, positions);
        end = min(begin + piece, positions);
        const int t = static_cast<int>(threadIdx.x);
        column = t % COLUMNS;
        lane = t < kLanes * COLUMNS ? t / COLUMNS : 1 << 30;
        data = (sample * positions) * channels + first + column * VECTOR;
    }
    i64 data;
    // The thread's i-th position, and where its vector there starts.
    DEVICE i64 position(int i) const { return begin + lane + static_cast<i64>(i) * kLanes; }
    DEVICE bool has(int i) const { return position(i) < end; }
    DEVICE i64 offset(int i) const { return data + position(i) * channels; }
    // Positions of the thread, and the most of any.
    DEVICE int count() const { return lane < end - begin ? static_cast<int>((end - begin - lane + kLanes - 1) / kLanes) : 0; }
    DEVICE int steps() const { return static_cast<int>((end - begin + kLanes - 1) / kLanes); }
    // The slice's first group among all groups of all samples.
    DEVICE i64 first_row() const { return (sample * channels + first) / GROUP_CHANNELS; }
    // The group, within the slice, of a bin of the thread's vector.
    DEVICE int group(int bin) const { return (column * VECTOR + bin * (VECTOR / kGroupBins)) / GROUP_CHANNELS; }
};

DEVICE constexpr int bin_of_element(int e) { return e * kGroupBins / VECTOR; }

// The values of the groups of a thread's vector, of one value per group of the slice in shared memory (16-byte aligned).
DEVICE Vec<float, kGroupBins> of_groups(const float* values, const Slice& slice) {
    if (VECTOR % GROUP_CHANNELS == 0) return load<kGroupBins>(values + slice.column * kGroupBins);
    Vec<float, kGroupBins> v;
#pragma unroll
    for (int bin = 0; bin < kGroupBins; ++bin) v[bin] = values[slice.group(bin)];
    return v;
}

// Weight and bias of the slice's channels, in shared memory that starts at a multiple of 16 bytes.
struct SliceParameters {
    float* weight;
    float* bias;
    template <class P>
    DEVICE void read(const Slice& slice, const P* w, const P* b) {
        for (int c = static_cast<int>(threadIdx.x); c < (AFFINE ? kSliceChannels : 0); c += THREADS) {
            weight[c] = to_float(w[slice.first + c]);
            bias[c] = WITH_BIAS ? to_float(b[slice.first + c]) : 0.0f;
        }
    }
    DEVICE Vec<float, VECTOR> of(const float* values, const Slice& slice) const {
        return load<VECTOR>(values + slice.column * VECTOR);
    }
};

// Where bin i of the slice's COLUMNS Bins lies in a row of partial sums: neighbouring threads write neighbouring words.
template <int Bins>
DEVICE constexpr int bin_place(int i) {
    return i % Bins * COLUMNS + i / Bins;
}

// Words from one row of `Words` partial sums to the next: where the rows of a warp follow each other, so do their banks.
template <int Words>
constexpr int kRowWords = kShuffled ? Words : Words + ((COLUMNS - Words) % kWarpSize + kWarpSize) % kWarpSize;

// Adds Count sums of each of a thread's Bins over the lanes of its column; they are then in partial [Count][COLUMNS Bins], at bin_place.
// partial has kPartialRows rows of so many words, kRowWords apart. Ends with a barrier; before the next call with the same memory there must be another.
template <int Count, int Bins>
DEVICE void add_lanes(float (&values)[Count][Bins], const Slice& slice, float* partial) {
    constexpr int all = Count * COLUMNS * Bins;
#pragma unroll
    for (int k = 0; k < Count; ++k) {
#pragma unroll
        for (int b = 0; b < Bins; ++b) {
            float v = values[k][b];
            if (kShuffled) {
#pragma unroll
                for (int step = COLUMNS; step < kWarpSize; step *= 2) v += shuffle_xor(v, step);
            }
            const int row = kShuffled ? warp_index() : slice.lane;
            if (kShuffled ? lane_index() < COLUMNS : slice.lane < kLanes) partial[row * kRowWords<all> + (k * Bins + b) * COLUMNS + slice.column] = v;
        }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < all; i += THREADS) {
        float total = partial[i];
#pragma unroll 8
        for (int row = 1; row < kPartialRows; ++row) total += partial[row * kRowWords<all> + i];
        partial[i] = total;
    }
    __syncthreads();
}

// Calls use(g, member) for the slice's groups: kGroupThreads neighbouring threads for each, a whole warp or one.
template <class Use>
DEVICE void each_group(Use use) {
    for (int g = static_cast<int>(threadIdx.x) / kGroupThreads; g < kSliceGroups; g += THREADS / kGroupThreads)
        use(g, static_cast<int>(threadIdx.x) % kGroupThreads);
}

// Sum k of the slice's group g, from what add_lanes left; all of the group's threads call and get it.
template <int Bins>
DEVICE float group_sum(const float* partial, int k, int g, int member) {
    constexpr int bins = GROUP_CHANNELS * Bins / VECTOR;
    float sum = 0.0f;
    for (int i = member; i < bins; i += kGroupThreads) sum += partial[k * COLUMNS * Bins + bin_place<Bins>(g * bins + i)];
    return warp_sum<kGroupThreads>(sum);
}

}  // namespace gpuengine
