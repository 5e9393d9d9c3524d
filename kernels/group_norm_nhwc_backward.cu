// The gradients of group_norm_nhwc.cu.
//
//   dz = dy activation'(z), g = dz weight, xhat = (x - mean) invstd:  dx = invstd (g - mean(g) - xhat mean(g xhat)) over the group,
//   dweight[c] = sum of dz xhat, dbias[c] = sum of dz over samples and positions
//
//   group_norm_nhwc_backward         one read: a cluster keeps dy and x of a slice in shared memory between the sums and dx
//   group_norm_nhwc_backward_sums    two reads: the sums of parts of a slice to memory, added by the block that is last, ...
//   group_norm_nhwc_backward_apply   ... dx from them
//
// Sums per channel are left as partial [sample or (sample, part)][dz xhat, dz][channels], which row_norm_finish adds up to dweight and
// dbias. Mapping as in group_norm_nhwc.cu. Bytes per element (S = bytes of the storage type): one read 3 S, two reads 5 S, beside the
// partial sums, 8 per channel, sample and part, written and read.
// Shared memory of a block (one read): 2 piece COLUMNS VECTOR S + 2 THREADS VECTOR sums. Registers: about 80.
// Sums in f32 in a fixed order. With an activation dz is rounded to the storage type, as the separate operations round it, and kept in
// the place of dy; FAST_MATH as in row_norm.cu.
#include "common/activations.cuh"
#include "common/grid.cuh"
#include "common/group_slices.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;
using Run = Packed<T, VECTOR>;

// The statistics of the slice's groups, and the sums that dx needs.
struct Normals {
    float mean[kSliceGroups];
    alignas(16) float scale[kSliceGroups];

    DEVICE void read(const Slice& slice, const float* means, const float* invstd) {
        for (int g = static_cast<int>(threadIdx.x); g < kSliceGroups; g += THREADS) {
            mean[g] = means[slice.first_row() + g];
            scale[g] = invstd[slice.first_row() + g];
        }
    }
};
struct Totals {
    float g[kSliceGroups];
    alignas(16) float g_xhat[kSliceGroups];
};
// Of one group.
struct alignas(8) GroupSums {
    float g, g_xhat;
};

// Statistics, weight and bias of a thread's channels.
struct Channels {
    Vec<float, VECTOR> weight, bias;
    Vec<float, kGroupBins> mean, scale;

    DEVICE Channels(const Slice& slice, const Normals& normals, const SliceParameters& parameters) {
        if (AFFINE) weight = parameters.of(parameters.weight, slice);
        if (WITH_BIAS) bias = parameters.of(parameters.bias, slice);
        mean = of_groups(normals.mean, slice);
        scale = of_groups(normals.scale, slice);
    }
    DEVICE float xhat(float x, int e) const { return (x - mean[bin_of_element(e)]) * scale[bin_of_element(e)]; }
    // dz of a vector, in the storage type.
    DEVICE Run gradient(const Run& dy, const Run& x) const {
        if (!kHasActivation) return dy;
        const auto result = [&](int e) {
            const float normal = xhat(x[e], e), z = !AFFINE ? normal : normal * weight[e] + (WITH_BIAS ? bias[e] : 0.0f);
            return dy[e] * CompiledActivation::derivative(z);
        };
        Run dz;
#pragma unroll
        for (int i = 0; i < Run::kWords; ++i) dz.set_word(i, result(i * Run::kPerWord), result(i * Run::kPerWord + Run::kPerWord - 1));
        return dz;
    }
    DEVICE void add(float (&sums)[2][VECTOR], const Run& dz, const Run& x) const {
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            sums[0][e] += dz[e] * xhat(x[e], e);
            sums[1][e] += dz[e];
        }
    }
};

// dx of a thread's vectors, from the sums of g and g xhat over each group.
struct Gradient {
    Vec<float, kGroupBins> offset, factor;

    DEVICE Gradient(const Slice& slice, const Channels& channels, const Totals& totals, float length) {
        offset = of_groups(totals.g, slice);
        factor = of_groups(totals.g_xhat, slice);
#pragma unroll
        for (int bin = 0; bin < kGroupBins; ++bin) {
            const float scale = channels.scale[bin] / length;
            offset[bin] *= scale;
            factor[bin] *= scale;
        }
    }
    DEVICE Run operator()(const Channels& channels, const Run& dz, const Run& x) const {
        const auto result = [&](int e) {
            const int bin = bin_of_element(e);
            const float own = AFFINE ? dz[e] * channels.weight[e] : dz[e];
            return own * channels.scale[bin] - offset[bin] - channels.xhat(x[e], e) * factor[bin];
        };
        Run out;
#pragma unroll
        for (int i = 0; i < Run::kWords; ++i) out.set_word(i, result(i * Run::kPerWord), result(i * Run::kPerWord + Run::kPerWord - 1));
        return out;
    }
};

// The block's sums per channel, from what add_lanes left, to `to` [2][channels].
DEVICE void write_channel_sums(const Slice& slice, const float* sums, float* to) {
    for (int i = static_cast<int>(threadIdx.x); i < 2 * kSliceChannels; i += THREADS) {
        const int k = i / kSliceChannels, c = i % kSliceChannels;
        to[k * slice.channels + slice.first + c] = sums[k * kSliceChannels + bin_place<VECTOR>(c)];
    }
}

// The sums of a group from those of its channels, which lie as add_lanes leaves them; all of the group's threads call and get them.
DEVICE GroupSums group_sums(const float* sums, const SliceParameters& parameters, int g, int member) {
    GroupSums total = {0.0f, 0.0f};
    for (int c = g * GROUP_CHANNELS + member; c < (g + 1) * GROUP_CHANNELS; c += kGroupThreads) {
        const float w = AFFINE ? parameters.weight[c] : 1.0f;
        total.g_xhat += sums[bin_place<VECTOR>(c)] * w;
        total.g += sums[kSliceChannels + bin_place<VECTOR>(c)] * w;
    }
    return GroupSums{warp_sum<kGroupThreads>(total.g), warp_sum<kGroupThreads>(total.g_xhat)};
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) group_norm_nhwc_backward(
    T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias,
    i64 positions, i64 channels, i64 piece) {
    DYNAMIC_SHARED(T, held);
    __shared__ float rows[kPartialRows * kRowWords<2 * kSliceChannels>];
    __shared__ __align__(16) float weights[kSliceChannels], biases[kSliceChannels];
    __shared__ __align__(16) Normals normals;
    __shared__ GroupSums parts[kSliceGroups * CLUSTER];
    __shared__ __align__(16) Totals totals;
    const u32 rank = CLUSTER > 1 ? cluster_rank() : 0;
    const Slice slice(blockIdx.x / CLUSTER, rank, piece, positions, channels);
    const int count = slice.count(), steps = slice.steps();
    const auto portion = [&](int q) { return min((steps * q + 3) / 4, count); };
    T *const own_dy = held + threadIdx.x * VECTOR, *const own_x = own_dy + ceil_div(piece, static_cast<i64>(kLanes)) * THREADS * VECTOR;
    const auto kept = [&](const T* from, int i) {
        Run run;
        load_packed<false>(run, from + i * THREADS * VECTOR);
        return run;
    };
#pragma unroll
    for (int q = 0; q < 4; ++q) {
        for (int i = portion(q); i < portion(q + 1); ++i) {
            async_copy<VECTOR>(own_dy + i * THREADS * VECTOR, dy + slice.offset(i));
            async_copy<VECTOR>(own_x + i * THREADS * VECTOR, x + slice.offset(i));
        }
        async_commit();
    }
    SliceParameters parameters{weights, biases};
    parameters.read(slice, weight, bias);
    normals.read(slice, mean, invstd);
    __syncthreads();
    if (CLUSTER > 1) cluster_sync();  // all have started: their shared memory may be written

    const Channels own(slice, normals, parameters);
    float channel[2][VECTOR] = {};
    const auto add_portion = [&](int q) {
#pragma unroll 2
        for (int i = portion(q); i < portion(q + 1); ++i) {
            const Run v = kept(own_x, i), dz = own.gradient(kept(own_dy, i), v);
            if (kHasActivation) store_packed<false>(own_dy + i * THREADS * VECTOR, dz);
            own.add(channel, dz, v);
        }
    };
    async_wait<3>();
    add_portion(0);
    async_wait<2>();
    add_portion(1);
    async_wait<1>();
    add_portion(2);
    async_wait<0>();
    add_portion(3);
    add_lanes(channel, slice, rows);
    if (partial) write_channel_sums(slice, rows, partial + (slice.sample * CLUSTER + rank) * 2 * channels);
    each_group([&](int g, int member) {
        const GroupSums part = group_sums(rows, parameters, g, member);
        for (int block = member; block < CLUSTER; block += kGroupThreads) *cluster_map(parts + g * CLUSTER + rank, block) = part;
    });
    if (CLUSTER > 1) cluster_sync();
    else __syncthreads();
    for (int g = static_cast<int>(threadIdx.x); g < kSliceGroups; g += THREADS) {
        GroupSums total = parts[g * CLUSTER];
        for (int i = 1; i < CLUSTER; ++i) {
            total.g += parts[g * CLUSTER + i].g;
            total.g_xhat += parts[g * CLUSTER + i].g_xhat;
        }
        totals.g[g] = total.g;
        totals.g_xhat[g] = total.g_xhat;
    }
    __syncthreads();
    const Gradient gradient(slice, own, totals, static_cast<float>(positions * GROUP_CHANNELS));
#pragma unroll 2
    for (int i = 0; i < count; ++i) store_packed<false>(dx + slice.offset(i), gradient(own, kept(own_dy, i), kept(own_x, i)));
}

// The thread's vectors, CHUNK at a time, all of a chunk under way before the first is used.
template <class Use>
DEVICE void stream(const T* dy, const T* x, const Slice& slice, Use use) {
    const int count = slice.count();
    for (int begin = 0; begin < count; begin += CHUNK) {
        Run dys[CHUNK], xs[CHUNK];
#pragma unroll
        for (int i = 0; i < CHUNK; ++i) {
            if (begin + i >= count) continue;
            load_packed<false>(dys[i], dy + slice.offset(begin + i));
            load_packed<false>(xs[i], x + slice.offset(begin + i));
        }
#pragma unroll
        for (int i = 0; i < CHUNK; ++i) {
            if (begin + i < count) use(begin + i, dys[i], xs[i]);
        }
    }
}

// Block (slice, part) writes its sums to `parts` [sample, part]; the last of a slice adds them to `partial` [sample]. `counters`: one per
// slice.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) group_norm_nhwc_backward_sums(
    float* partial, float* parts, u32* counters, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, i64 positions,
    i64 channels, i64 piece) {
    __shared__ float rows[kPartialRows * kRowWords<2 * kSliceChannels>];
    __shared__ __align__(16) float weights[kSliceChannels], biases[kSliceChannels];
    __shared__ __align__(16) Normals normals;
    const Slice slice(blockIdx.x, blockIdx.y, piece, positions, channels);
    SliceParameters parameters{weights, biases};
    parameters.read(slice, weight, bias);
    normals.read(slice, mean, invstd);
    __syncthreads();
    const Channels own(slice, normals, parameters);
    float channel[2][VECTOR] = {};
    stream(dy, x, slice, [&](int, const Run& g, const Run& v) { own.add(channel, own.gradient(g, v), v); });
    add_lanes(channel, slice, rows);
    write_channel_sums(slice, rows, parts + (slice.sample * gridDim.y + blockIdx.y) * 2 * channels);
    if (!is_last_block(counters + blockIdx.x, gridDim.y)) return;
    for (int i = static_cast<int>(threadIdx.x); i < 2 * kSliceChannels; i += THREADS) {
        const i64 at = i / kSliceChannels * channels + slice.first + i % kSliceChannels;
        const float* const from = parts + slice.sample * gridDim.y * 2 * channels + at;
        float total = 0.0f;
#pragma unroll 8
        for (i64 part = 0; part < gridDim.y; ++part) total += from[part * 2 * channels];
        partial[slice.sample * 2 * channels + at] = total;
    }
}

// Block (slice, part) of the same or another division.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) group_norm_nhwc_backward_apply(
    T* dx, const float* partial, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias,
    i64 positions, i64 channels, i64 piece) {
    __shared__ float sums[2 * kSliceChannels];
    __shared__ __align__(16) float weights[kSliceChannels], biases[kSliceChannels];
    __shared__ __align__(16) Normals normals;
    __shared__ __align__(16) Totals totals;
    // What was read last comes first: it is still in the L2 cache.
    const Slice slice(gridDim.x - 1 - blockIdx.x, gridDim.y - 1 - blockIdx.y, piece, positions, channels);
    SliceParameters parameters{weights, biases};
    parameters.read(slice, weight, bias);
    normals.read(slice, mean, invstd);
    for (int i = static_cast<int>(threadIdx.x); i < 2 * kSliceChannels; i += THREADS) {
        const int k = i / kSliceChannels, c = i % kSliceChannels;
        sums[k * kSliceChannels + bin_place<VECTOR>(c)] = partial[(slice.sample * 2 + k) * channels + slice.first + c];
    }
    __syncthreads();
    each_group([&](int g, int member) {
        const GroupSums total = group_sums(sums, parameters, g, member);
        if (member != 0) return;
        totals.g[g] = total.g;
        totals.g_xhat[g] = total.g_xhat;
    });
    __syncthreads();
    const Channels own(slice, normals, parameters);
    const Gradient gradient(slice, own, totals, static_cast<float>(positions * GROUP_CHANNELS));
    stream(dy, x, slice, [&](int i, const Run& g, const Run& v) { store_packed<false>(dx + slice.offset(i), gradient(own, own.gradient(g, v), v)); });
}
