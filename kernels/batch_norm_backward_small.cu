// Batch normalisation backward in training where a slice of channels of dy and x fits in the registers of a cluster of CLUSTER blocks: one
// plain launch, everything read once. Formulas: batch_norm_backward.cu; mapping within a slice: common/slices.cuh.
//
// A cluster has a slice, its block r the positions [r share, (r + 1) share), which are HELD batches at most. With several blocks the
// partial sums are read from each other's shared memory, and every block adds them in the same order.
//
// Bytes: dy, x and dx once, with MASK 1 bit read and dz written per element, with RESIDUAL the residual and its gradient once. Registers
// (bf16, HELD 2, mask), live at most: dy 32 + x 32 + sums 16 + coefficients 8 + addresses 14 + loop 6 = 108 of 128 (BLOCKS 2); a residual
// is held too, so HELD is 1 with it: 48 + 16 + 16 + 20 = 100. Static shared memory only. Results depend on the shape alone.
#include "common/batch_norm_gradient.cuh"
#include "common/cluster.cuh"

#ifndef HELD
#define HELD 1
#endif
#ifndef CLUSTER
#define CLUSTER 1
#endif

using namespace gpuengine;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_backward_small(
    T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight,
    const P* bias, const T* residual, const u8* mask, i64 batch, i64 channels, i64 length, i64 share) {
    __shared__ Exchange exchange;
    __shared__ Coefficients f;
    __shared__ __align__(16) float totals[2 * kSlots];
    const Layout at(batch, channels, length);
    const u32 thread = threadIdx.x, own_share = static_cast<u32>(share), rank = CLUSTER > 1 ? cluster_rank() : 0;
    const u32 slice = blockIdx.x / CLUSTER, channel = at.channel(slice);
    const u32 begin = min(rank * own_share, at.positions), end = min(begin + own_share, at.positions);
    Vector g[HELD][BATCH], v[HELD][BATCH], r[HELD][BATCH];
    u32 bits[HELD];
    int n[HELD];
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const u32 position = begin + h * kChunk + at.first;
        n[h] = channel < at.channels ? Layout::valid(position, end) : 0;
        load_batch(g[h], dy, at, channel, position, n[h]);
        load_batch(v[h], x, at, channel, position, n[h]);
        if (RESIDUAL) load_batch(r[h], residual, at, channel, position, n[h]);
        bits[h] = MASK && n[h] > 0 ? load_mask(mask, at, channel, position, n[h]) : 0;
    }
    const u32 c = at.slot_channel(slice, thread);
    const bool leads = thread < kSlots && c < at.channels;
    const Parameters own = leads ? Parameters(mean, invstd, weight, bias, c) : Parameters();
    if (thread < kSlots) own.store(f, thread);
    __syncthreads();
    Sums s;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        s.add(g[h], v[h], r[h], bits[h], f, at);
        if (MASK) store_batch(dresidual, g[h], at, channel, begin + h * kChunk + at.first, n[h]);
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            g[h][j].renew();
            v[h][j].renew();
            r[h][j].renew();
        }
    }
    float sum = 0.0f, product = 0.0f;
    block_sums(s, exchange, sum, product);
    if (CLUSTER > 1) {
        if (thread < kSlots) store(totals + 2 * thread, Vec<float, 2>{sum, product});
        cluster_sync();
        if (thread < kSlots) {
            sum = product = 0.0f;
#pragma unroll
            for (u32 k = 0; k < CLUSTER; ++k) {
                const Vec<float, 2> part = load<2>(cluster_map(totals, k) + 2 * thread);
                sum += part[0];
                product += part[1];
            }
        }
        cluster_arrive();  // nobody reads here any more; the wait is at the end
    }
    if (leads) {
        f.set_sums(thread, sum, product, Layout::elements(at.positions));
        if (rank == 0) f.write(dweight, dbias, thread, c, sum, product);
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < HELD; ++h) apply_batch(dx, dresidual, g[h], v[h], r[h], f, at, channel, begin + h * kChunk + at.first, n[h]);
    if (CLUSTER > 1) cluster_wait();
}
