// Batch normalisation forward: x, y [N, C, length], statistics over N and length for each channel c. Rows of channels [rows, C], which
// [N, ..., C] is too, have length 1.
//
//   z = (x - mean) invstd weight + bias + residual,  y = activation(z),  invstd = 1 / sqrt(var + eps), var biased
//   running = (1 - momentum) running + momentum batch; the running variance takes m / (m - 1) var if UNBIASED
//   mask: one bit per element, set where relu passes the gradient (common/sign_mask.cuh)
//
// Here are the variants that read x twice; batch_norm_one_read.cu and batch_norm_small.cu read it once.
//   batch_norm_naive        one block per channel, scalar accesses: the second oracle, any shape
//   batch_norm_mask_naive   the sign bits from y, one thread per byte
//   batch_norm_count_naive  values of y above 0 per channel (COUNTS)
//   batch_norm_statistics   slices x pieces blocks; moments of pieces, merged in order by the last block of each slice
//   batch_norm_apply        y from given statistics
//
// Bytes per element (T = bytes of the storage type): statistics T, apply 2 T (+ T residual, + 1/8 MASK). The apply launch starts with the
// pieces that the statistics launch read last: they are still in the L2 cache.
// Mapping: common/slices.cuh. Two batches of 16 bytes in flight per thread: 96 KB with three blocks of 256 threads on a multiprocessor.
// Registers (bf16): statistics 32 x + 17 moments + 20 = 69; apply 16 x + 16 next x + 12 coefficients + 24 = 68, 85 being allotted at BLOCKS
// 3; with a residual 16 + 1 more, so BLOCKS is 2. Results depend on the shape alone.
#include "common/batch_norm_forward.cuh"
#include "common/grid.cuh"

using namespace gpuengine;

extern "C" __global__ void __launch_bounds__(256) batch_norm_naive(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, const T* x, const P* weight, const P* bias,
    const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length) {
    __shared__ float parts[2][256];
    const u32 c = blockIdx.x;
    const i64 values = batch * length;
    const u32 thread = threadIdx.x;
    const auto offset = [=](i64 k) { return (k / length * channels + c) * length + k % length; };
    const auto total = [&](float value, int which) {
        parts[which][thread] = value;
        __syncthreads();
        float sum = 0.0f;
        for (int i = 0; i < 256; ++i) sum += parts[which][i];
        return sum;
    };
    // Deviations from the first value: a sum of large ones would lose digits.
    const float pivot = to_float(x[offset(0)]);
    float part = 0.0f;
    for (i64 k = thread; k < values; k += 256) part += to_float(x[offset(k)]) - pivot;
    const float m = pivot + total(part, 0) / static_cast<float>(values);
    part = 0.0f;
    for (i64 k = thread; k < values; k += 256) part += (to_float(x[offset(k)]) - m) * (to_float(x[offset(k)]) - m);
    const float m2 = total(part, 1), scale = invstd_of(m2 / static_cast<float>(values));
    for (i64 k = thread; k < values; k += 256) {
        float z = (to_float(x[offset(k)]) - m) * scale;
        if (AFFINE) z = z * to_float(weight[c]) + to_float(bias[c]);
        if (RESIDUAL) z += to_float(residual[offset(k)]);
        y[offset(k)] = from_float<T>(CompiledActivation::forward(z));
    }
    if (thread == 0) {
        const Statistics statistics{mean, invstd, new_mean, new_var, running_mean, running_var};
        statistics.write(c, m, m2, static_cast<float>(values));
        statistics.update_running(c, statistics.running(c, true), m, m2, static_cast<float>(values));
    }
}

// y is positive, or NaN, exactly where z is. `bytes` are those of the mask.
extern "C" __global__ void __launch_bounds__(256) batch_norm_mask_naive(u8* mask, T* y, i64 batch, i64 channels, i64 length, i64 bytes) {
    const i64 at = global_thread();
    if (at >= bytes) return;
    const i64 first = length == 1 ? at % batch * channels + at / batch * PACK : at * PACK;
    u32 bits = 0;
    for (int e = 0; e < PACK; ++e)
        if (!(to_float(y[first + e]) <= 0.0f)) bits |= 1u << e;
    mask[at] = static_cast<u8>(bits);
}

// One block per channel. `positive` counts what y has above 0.
extern "C" __global__ void __launch_bounds__(256) batch_norm_count_naive(i64* positive, T* y, i64 batch, i64 channels, i64 length) {
    i32 own = 0;
    for (i64 k = threadIdx.x; k < batch * length; k += 256) own += to_float(y[(k / length * channels + blockIdx.x) * length + k % length]) > 0.0f;
    const i32 all = block_sum(own);
    if (threadIdx.x == 0) positive[blockIdx.x] = all;
}

// Block (s, p) has positions [p piece, (p + 1) piece) of slice s. `scratch` holds a row of kSlots (mean, m2) per slice and piece,
// `counters` a u32 per slice.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_statistics(
    float* mean, float* invstd, float* new_mean, float* new_var, i64* positive, float* scratch, u32* counters, const T* x, const float* running_mean,
    const float* running_var, i64 batch, i64 channels, i64 length, i64 piece) {
    __shared__ Exchange exchange;
    const Layout at(batch, channels, length);
    const u32 share = static_cast<u32>(piece), thread = threadIdx.x, pieces = gridDim.y;
    const u32 slice = blockIdx.x, channel = at.channel(slice);
    const u32 begin = blockIdx.y * share, end = channel < at.channels ? min(begin + share, at.positions) : 0;
    Moments m;
    for (u32 position = begin + at.first; position < begin + share; position += 2 * kChunk) {
        const int n = Layout::valid(position, end), more = Layout::valid(position + kChunk, end);
        Vector v[BATCH], w[BATCH];
        load_batch<true>(v, x, at, channel, position, n);
        load_batch<true>(w, x, at, channel, position + kChunk, more);
        m.add(v, n);
        m.add(w, more);
    }
    float average = 0.0f, m2 = 0.0f;
    block_moments(m, exchange, average, m2);
    const u32 c = at.slot_channel(slice, thread);
    const bool leads = thread < kSlots && c < at.channels;
    const Statistics statistics{mean, invstd, new_mean, new_var, running_mean, running_var};
    Vec<float, 2> known{};
    if (pieces > 1) {
        float* const rows = scratch + slice * pieces * (2 * kSlots);
        if (leads) store(rows + 2 * (blockIdx.y * kSlots + thread), Vec<float, 2>{average, m2});
        if (!is_last_block(counters + slice, pieces)) return;
        known = statistics.running(c, leads);
        merge_rows(rows, pieces, share, at, exchange, average, m2);
    }
    if (!leads) return;
    if (pieces == 1) known = statistics.running(c, true);
    statistics.write(c, average, m2, Layout::elements(at.positions));
    statistics.update_running(c, known, average, m2, Layout::elements(at.positions));
    Positives::begin(positive, c);
}

// In evaluation (TRAINING 0) the running statistics are used, and handed on by the first piece of each slice.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_apply(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, i64* positive, const T* x, const P* weight, const P* bias,
    const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length, i64 piece) {
    __shared__ Coefficients f;
    Positives positives;
    const Layout at(batch, channels, length);
    // Blocks start in the order of their numbers, the pieces of a slice last: what was read last comes first.
    const u32 share = static_cast<u32>(piece), thread = threadIdx.x, own = gridDim.y - 1 - blockIdx.y;
    const u32 slice = gridDim.x - 1 - blockIdx.x, channel = at.channel(slice);
    const u32 begin = own * share, end = channel < at.channels ? min(begin + share, at.positions) : 0;
    const u32 c = at.slot_channel(slice, thread);
    Vector v[BATCH], next[BATCH], r[BATCH];
    u32 position = begin + at.first;
    load_batch(v, x, at, channel, position, Layout::valid(position, end));
    if (thread < kSlots && c < at.channels) {
        const float variance = TRAINING ? 0.0f : running_var[c], average = TRAINING ? mean[c] : running_mean[c];
        const float inverse = TRAINING ? invstd[c] : invstd_of(variance);
        f.set(thread, average, AFFINE ? inverse * to_float(weight[c]) : inverse, AFFINE ? to_float(bias[c]) : 0.0f);
        if (!TRAINING && own == 0) {
            mean[c] = average;
            invstd[c] = inverse;
            if (RUNNING) {
                new_mean[c] = average;
                new_var[c] = variance;
            }
        }
    } else if (thread < kSlots) {
        f.set(thread, 0.0f, 0.0f, 0.0f);
    }
    __syncthreads();
    for (; position < begin + share + at.first; position += kChunk) {
        const int n = Layout::valid(position, end);
        if (RESIDUAL) load_batch(r, residual, at, channel, position, n);
        load_batch(next, x, at, channel, position + kChunk, Layout::valid(position + kChunk, end));
        apply_batch(y, mask, v, r, f, at, channel, position, n, positives);
#pragma unroll
        for (int j = 0; j < BATCH; ++j) v[j] = next[j];
    }
    if constexpr (COUNTS) {
        __shared__ Exchange exchange;
        positives.finish(positive, at, slice, exchange);
    }
}
