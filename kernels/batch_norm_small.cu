// Batch normalisation forward in training where a slice of channels fits in the registers of a cluster of CLUSTER blocks: one plain launch,
// x read once, no barrier but the cluster's. Formulas: batch_norm.cu; mapping within a slice: common/slices.cuh.
//
// A cluster has a slice, its block r the positions [r share, (r + 1) share), which are HELD batches at most. All loads are issued before
// the first is used, the residual's before the statistics are put together; parameters are on their way meanwhile. With several blocks the
// partial moments are read from each other's shared memory, and every block merges them in the same order.
//
// Bytes: x, residual and y once, 1 bit per element with MASK. Registers (bf16, HELD 2, relu, residual, mask), live at most: x 32 +
// residual 32 + moments 16 + temporaries 12 + addresses 12 = 104 of 128 (BLOCKS 2); without a residual 72. Static shared memory only.
// Results depend on the shape alone.
#include "common/batch_norm_forward.cuh"
#include "common/cluster.cuh"

#ifndef HELD
#define HELD 1
#endif
#ifndef CLUSTER
#define CLUSTER 1
#endif

using namespace gpuengine;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_small(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, i64* positive, const T* x, const P* weight, const P* bias,
    const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length, i64 share) {
    __shared__ Exchange exchange;
    __shared__ Coefficients f;
    __shared__ __align__(16) float own[2 * kSlots];
    const Layout at(batch, channels, length);
    const u32 thread = threadIdx.x, own_share = static_cast<u32>(share), rank = CLUSTER > 1 ? cluster_rank() : 0;
    const u32 slice = blockIdx.x / CLUSTER, channel = at.channel(slice);
    const u32 begin = min(rank * own_share, at.positions), end = min(begin + own_share, at.positions);
    Vector v[HELD][BATCH], r[HELD][BATCH];
    int n[HELD];
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const u32 position = begin + h * kChunk + at.first;
        n[h] = channel < at.channels ? Layout::valid(position, end) : 0;
        load_batch(v[h], x, at, channel, position, n[h]);
    }
    const u32 c = at.slot_channel(slice, thread);
    const bool leads = thread < kSlots && c < at.channels;
    const float w = leads && AFFINE ? to_float(weight[c]) : 1.0f, b = leads && AFFINE ? to_float(bias[c]) : 0.0f;
    const Statistics statistics{mean, invstd, new_mean, new_var, running_mean, running_var};
    const Vec<float, 2> known = statistics.running(c, leads && rank == 0);
    if (leads && rank == 0) Positives::begin(positive, c);
    if (RESIDUAL) {
#pragma unroll
        for (int h = 0; h < HELD; ++h) load_batch(r[h], residual, at, channel, begin + h * kChunk + at.first, n[h]);
    }
    Moments m;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        m.add(v[h], n[h]);
#pragma unroll
        for (int j = 0; j < BATCH; ++j) v[h][j].renew();
    }
    float average = 0.0f, m2 = 0.0f;
    block_moments(m, exchange, average, m2);
    if (CLUSTER > 1) {
        if (thread < kSlots) store(own + 2 * thread, Vec<float, 2>{average, m2});
        cluster_sync();
        if (thread < kSlots) {
            const float shift = load<2>(cluster_map(own, 0) + 2 * thread)[0];
            float sum = 0.0f, squares = 0.0f;
#pragma unroll
            for (u32 k = 0; k < CLUSTER; ++k) {
                const Vec<float, 2> part = load<2>(cluster_map(own, k) + 2 * thread);
                const float count = Layout::elements(min(at.positions, (k + 1) * own_share) - min(at.positions, k * own_share));
                const float d = part[0] - shift;
                sum += count * d;
                squares += part[1] + count * d * d;
            }
            const float count = Layout::elements(at.positions);
            average = shift + sum / count;
            m2 = squares - sum * sum / count;
        }
        cluster_arrive();  // nobody reads here any more; the wait is at the end
    }
    if (thread < kSlots) {
        f.set(thread, average, invstd_of(variance_of(m2, Layout::elements(at.positions))) * w, b);
    }
    __syncthreads();
    Positives positives;
#pragma unroll
    for (int h = 0; h < HELD; ++h) apply_batch(y, mask, v[h], r[h], f, at, channel, begin + h * kChunk + at.first, n[h], positives);
    // Nobody waits for these, so they come last.
    if (leads && rank == 0) {
        statistics.write(c, average, m2, Layout::elements(at.positions));
        statistics.update_running(c, known, average, m2, Layout::elements(at.positions));
    }
    positives.finish(positive, at, slice, exchange);
    if (CLUSTER > 1) cluster_wait();
}
