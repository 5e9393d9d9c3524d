// group_norm and instance_norm with the channels last, forward, with an activation. x is [batch, positions, channels]; a group is
// GROUP_CHANNELS neighbouring channels of one sample at all positions.
//
//   y = activation((x - mean) invstd weight + bias),  invstd = 1 / sqrt(mean of (x - mean)^2 + eps) over the group
//
//   group_norm_nhwc_forward      one read: the CLUSTER blocks of a cluster keep a slice of whole groups in shared memory
//                                (see common/group_slices.cuh) between statistics and y
//   group_norm_nhwc_statistics   two reads, for slices that do not fit: parts of a slice to memory, merged by the block that is last, ...
//   group_norm_nhwc_apply        ... y from what it found
//
// Mapping: a run of COLUMNS VECTOR channels per position, 64 bytes or more where groups allow it. One read: block (slice, rank) copies its
// positions into shared memory in four portions (cp.async: no registers, all bytes under way at once); each thread only reads what it copied.
// The first portion gives a pivot while the others are under way, then sums of x - pivot and its square over all of them. The pivot is the mean
// of a quarter of the data, so at most a few bits are lost, whatever the mean. Blocks exchange (pivot, mean, m2, count) through
// each other's shared memory; fixed order.
// Bytes per element (S = bytes of the storage type): one read 2 S, two reads 3 S, beside parameters once per block.
// Shared memory of a block (one read): piece COLUMNS VECTOR S + 2 THREADS bins sums. Registers: about 64.
// FAST_MATH as in row_norm.cu; in bf16 (x - mean) invstd weight + bias is one product and sum, whose rounding is far below the storage's.
#include "common/activations.cuh"
#include "common/grid.cuh"
#include "common/group_slices.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef EPS
#define EPS 1e-5f
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;
using Run = Packed<T, VECTOR>;

// What y needs of the groups of a slice.
struct GroupScales {
    float pivot[kSliceGroups];
    alignas(16) float centre[kSliceGroups];
    alignas(16) float scale[kSliceGroups];

    DEVICE void set(int g, const Vec<float, 4>& found) {
        pivot[g] = found[0];
        centre[g] = found[1];
        scale[g] = found[2];
    }
    // pivot, centre and scale of a group.
    DEVICE static Vec<float, 4> of(const Statistics& s, float length) {
        return Vec<float, 4>{s.pivot, s.centre, 1.0f / sqrtf(s.m2 / length + EPS), 0.0f};
    }
};

// y of a thread's vectors.
struct Output {
    Vec<float, VECTOR> a, b;
    Vec<float, kGroupBins> pivot, centre, scale;

    DEVICE Output(const Slice& slice, const GroupScales& groups, const SliceParameters& parameters) {
        if (AFFINE) {
            a = parameters.of(parameters.weight, slice);
            b = parameters.of(parameters.bias, slice);
        }
        pivot = of_groups(groups.pivot, slice);
        centre = of_groups(groups.centre, slice);
        scale = of_groups(groups.scale, slice);
        if (sizeof(T) == 4) return;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            const int bin = bin_of_element(e);
            a[e] = AFFINE ? a[e] * scale[bin] : scale[bin];
            const float shift = -(pivot[bin] + centre[bin]) * a[e];
            b[e] = AFFINE ? b[e] + shift : shift;
        }
    }
    DEVICE Run operator()(const Run& in) const {
        const auto result = [&](int e) {
            if (sizeof(T) != 4) return CompiledActivation::forward(in[e] * a[e] + b[e]);
            const int bin = bin_of_element(e);
            const float xhat = (in[e] - pivot[bin] - centre[bin]) * scale[bin];
            return CompiledActivation::forward(AFFINE ? xhat * a[e] + b[e] : xhat);
        };
        Run out;
#pragma unroll
        for (int i = 0; i < Run::kWords; ++i) out.set_word(i, result(i * Run::kPerWord), result(i * Run::kPerWord + Run::kPerWord - 1));
        return out;
    }
};

DEVICE void add_to(float (&sums)[1][kGroupBins], const Run& v) {
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) sums[0][bin_of_element(e)] += v[e];
}

DEVICE void add_to(float (&sums)[2][kGroupBins], const Run& v, const Vec<float, kGroupBins>& pivots) {
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        const int bin = bin_of_element(e);
        const float d = v[e] - pivots[bin];
        sums[0][bin] += d;
        sums[1][bin] += d * d;
    }
}

// The mean of each group over the vectors whose sums these are, `values` of a group.
DEVICE Vec<float, kGroupBins> find_pivots(float (&sums)[1][kGroupBins], const Slice& slice, float values, float* partial, float* pivots) {
    add_lanes(sums, slice, partial);
    each_group([&](int g, int member) {
        const float sum = group_sum<kGroupBins>(partial, 0, g, member);
        if (member == 0) pivots[g] = values > 0.0f ? sum / values : 0.0f;
    });
    __syncthreads();
    return of_groups(pivots, slice);
}

DEVICE void write_statistics(float* mean, float* invstd, i64 row, const Vec<float, 4>& found) {
    mean[row] = found[0] + found[1];
    invstd[row] = found[2];
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) group_norm_nhwc_forward(
    T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 positions, i64 channels, i64 piece) {
    DYNAMIC_SHARED(T, held);
    __shared__ float partial[kPartialRows * kRowWords<2 * COLUMNS * kGroupBins>];
    __shared__ __align__(16) float pivots[kSliceGroups];
    __shared__ Part parts[kSliceGroups * CLUSTER];
    __shared__ __align__(16) GroupScales scales;
    __shared__ __align__(16) float weights[kSliceChannels], biases[kSliceChannels];
    const u32 rank = CLUSTER > 1 ? cluster_rank() : 0;
    const Slice slice(blockIdx.x / CLUSTER, rank, piece, positions, channels);
    const int count = slice.count(), steps = slice.steps();
    // Portions end after a quarter, a half, ... of the steps; the first is not empty.
    const auto portion = [&](int q) { return min((steps * q + 3) / 4, count); };
    T* const own = held + threadIdx.x * VECTOR;
    const auto kept = [&](int i) {
        Run run;
        load_packed<false>(run, own + i * THREADS * VECTOR);
        return run;
    };
#pragma unroll
    for (int q = 0; q < 4; ++q) {
        for (int i = portion(q); i < portion(q + 1); ++i) async_copy<VECTOR>(own + i * THREADS * VECTOR, x + slice.offset(i));
        async_commit();
    }
    SliceParameters parameters{weights, biases};
    parameters.read(slice, weight, bias);
    if (CLUSTER > 1) cluster_sync();  // all have started: their shared memory may be written

    const auto values = [&](i64 n) { return static_cast<float>(n * GROUP_CHANNELS); };
    float first[1][kGroupBins] = {}, sums[2][kGroupBins] = {};
    async_wait<3>();
    for (int i = 0; i < portion(1); ++i) add_to(first, kept(i));
    const i64 portion_positions = min(slice.end - slice.begin, static_cast<i64>((steps + 3) / 4) * kLanes);
    const Vec<float, kGroupBins> pivot = find_pivots(first, slice, values(portion_positions), partial, pivots);
    const auto add_portion = [&](int q) {
#pragma unroll 4
        for (int i = portion(q); i < portion(q + 1); ++i) add_to(sums, kept(i), pivot);
    };
    add_portion(0);
    async_wait<2>();
    add_portion(1);
    async_wait<1>();
    add_portion(2);
    async_wait<0>();
    add_portion(3);
    add_lanes(sums, slice, partial);
    each_group([&](int g, int member) {
        const float sum = group_sum<kGroupBins>(partial, 0, g, member), squares = group_sum<kGroupBins>(partial, 1, g, member);
        const Part part = part_of_sums(pivots[g], sum, squares, values(slice.end - slice.begin));
        for (int block = member; block < CLUSTER; block += kGroupThreads) *cluster_map(parts + g * CLUSTER + rank, block) = part;
    });
    if (CLUSTER > 1) cluster_sync();
    else __syncthreads();
    const float length = values(positions);
    each_group([&](int g, int member) {
        const Statistics s = merge_parts<kGroupThreads>(parts + g * CLUSTER, CLUSTER, 1, length);
        if (member != 0) return;
        const Vec<float, 4> found = GroupScales::of(s, length);
        scales.set(g, found);
        if (rank == 0) write_statistics(mean, invstd, slice.first_row() + g, found);
    });
    __syncthreads();
    const Output output(slice, scales, parameters);
#pragma unroll 4
    for (int i = 0; i < count; ++i) store_packed<false>(y + slice.offset(i), output(kept(i)));
}

// The thread's vectors, CHUNK at a time, all of a chunk under way before the first is used.
template <class Use>
DEVICE void stream(const T* x, const Slice& slice, int from, Use use) {
    const int count = slice.count();
    for (int begin = from; begin < count; begin += CHUNK) {
        Run runs[CHUNK];
#pragma unroll
        for (int i = 0; i < CHUNK; ++i) {
            if (begin + i < count) load_packed<false>(runs[i], x + slice.offset(begin + i));
        }
#pragma unroll
        for (int i = 0; i < CHUNK; ++i) {
            if (begin + i < count) use(begin + i, runs[i]);
        }
    }
}

// Block (slice, part) writes what it knows of each group to parts [part][sample, group]; the last of a slice merges them to
// (pivot, centre, scale), [sample, group] behind the parts. `counters`: one per slice.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) group_norm_nhwc_statistics(
    float* mean, float* invstd, float* parts, u32* counters, const T* x, i64 batch, i64 positions, i64 channels, i64 piece) {
    __shared__ float partial[kPartialRows * kRowWords<2 * COLUMNS * kGroupBins>];
    __shared__ __align__(16) float pivots[kSliceGroups];
    const Slice slice(blockIdx.x, blockIdx.y, piece, positions, channels);
    const int count = slice.count();
    const i64 rows = batch * channels / GROUP_CHANNELS;
    float first[1][kGroupBins] = {}, sums[2][kGroupBins] = {};
    Run runs[CHUNK];
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) {
        if (i < count) load_packed<false>(runs[i], x + slice.offset(i));
    }
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) {
        if (i < count) add_to(first, runs[i]);
    }
    const i64 own = slice.end - slice.begin;
    const float values = static_cast<float>(min(own, static_cast<i64>(CHUNK) * kLanes) * GROUP_CHANNELS);
    const Vec<float, kGroupBins> pivot = find_pivots(first, slice, values, partial, pivots);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) {
        if (i < count) add_to(sums, runs[i], pivot);
    }
    stream(x, slice, CHUNK, [&](int, const Run& run) { add_to(sums, run, pivot); });
    add_lanes(sums, slice, partial);
    each_group([&](int g, int member) {
        const float sum = group_sum<kGroupBins>(partial, 0, g, member), squares = group_sum<kGroupBins>(partial, 1, g, member);
        if (member != 0) return;
        reinterpret_cast<Part*>(parts)[blockIdx.y * rows + slice.first_row() + g] =
            part_of_sums(pivots[g], sum, squares, static_cast<float>(own * GROUP_CHANNELS));
    });
    if (!is_last_block(counters + blockIdx.x, gridDim.y)) return;
    const float length = static_cast<float>(positions * GROUP_CHANNELS);
    for (int g = warp_index(); g < kSliceGroups; g += kWarps) {
        const i64 row = slice.first_row() + g;
        const Statistics s = merge_parts<kWarpSize>(reinterpret_cast<const Part*>(parts) + row, static_cast<int>(gridDim.y), rows, length);
        if (lane_index() != 0) continue;
        const Vec<float, 4> found = GroupScales::of(s, length);
        store(parts + (gridDim.y * rows + row) * 4, found);
        write_statistics(mean, invstd, row, found);
    }
}

// Block (slice, part) of the same or another division; `found` is what the last blocks wrote behind the parts.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) group_norm_nhwc_apply(
    T* y, const float* found, const T* x, const P* weight, const P* bias, i64 positions, i64 channels, i64 piece) {
    __shared__ __align__(16) GroupScales scales;
    __shared__ __align__(16) float weights[kSliceChannels], biases[kSliceChannels];
    // What was read last comes first: it is still in the L2 cache.
    const Slice slice(gridDim.x - 1 - blockIdx.x, gridDim.y - 1 - blockIdx.y, piece, positions, channels);
    SliceParameters parameters{weights, biases};
    parameters.read(slice, weight, bias);
    for (int g = static_cast<int>(threadIdx.x); g < kSliceGroups; g += THREADS) scales.set(g, load<4>(found + (slice.first_row() + g) * 4));
    __syncthreads();
    const Output output(slice, scales, parameters);
    stream(x, slice, 0, [&](int i, const Run& run) { store_packed<false>(y + slice.offset(i), output(run)); });
}
