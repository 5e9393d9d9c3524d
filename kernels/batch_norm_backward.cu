// Batch normalisation backward: dy, x, dx [N, C, length], sums over N and length for each channel c. Rows of channels [rows, C], which
// [N, ..., C] is too, have length 1.
//
//   xhat = (x - mean) invstd,  z = xhat weight + bias + residual,  dz = dy activation'(z)
//   dbias = sum dz,  dweight = sum dz xhat,  dresidual = dz
//   dx = weight invstd (dz - dbias / m - xhat dweight / m) in training, weight invstd dz in evaluation (m = N length)
//
// The pre-activation z is made again from x, or, with MASK, one bit per element tells whether relu passes dy (common/sign_mask.cuh).
// Here are the variants that read dy and x twice; batch_norm_backward_one_read.cu and batch_norm_backward_small.cu read them once.
//   batch_norm_backward_naive   one block per channel, scalar accesses: the second oracle, any shape, training
//   batch_norm_backward_sums    slices x pieces blocks; sums of pieces, added in order by the last block of each slice; with MASK also dz,
//                               in evaluation (TRAINING 0) also dx, and then it is all there is
//   batch_norm_backward_apply   dx from given sums
//
// Bytes per element (T = bytes of the storage type): sums 2 T (+ T residual, or + 1/8 + T MASK), apply 3 T (+ 2 T with a residual); with
// MASK it reads dz in place of dy. The apply launch starts with what the other read last, which is still in the L2 cache.
// Mapping: common/slices.cuh. Registers (bf16): sums 32 + 16 + coefficients 12 + 24 = 84, apply 32 + residual 16 + coefficients 20 +
// 24 = 92; 128 are allotted at BLOCKS 2. Results depend on the shape alone.
#include "common/batch_norm_gradient.cuh"
#include "common/grid.cuh"

using namespace gpuengine;

extern "C" __global__ void __launch_bounds__(256) batch_norm_backward_naive(
    T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight,
    const P* bias, const T* residual, const u8* mask, i64 batch, i64 channels, i64 length) {
    __shared__ float parts[2][256];
    const u32 c = blockIdx.x;
    const i64 values = batch * length;
    const u32 thread = threadIdx.x;
    const auto offset = [=](i64 k) { return (k / length * channels + c) * length + k % length; };
    const Parameters own(mean, invstd, weight, bias, c);
    const auto dz = [&](i64 k) {
        const i64 i = offset(k);
        if (MASK) {
            const i64 byte = length == 1 ? static_cast<i64>(c) / PACK * batch + k : i / PACK;
            return (mask[byte] >> (length == 1 ? c : i) % PACK & 1) != 0 ? to_float(dy[i]) : 0.0f;
        }
        return dz_of(to_float(dy[i]), to_float(x[i]) - own.mean, own.invstd * own.weight, own.bias, RESIDUAL ? to_float(residual[i]) : 0.0f);
    };
    float sum = 0.0f, product = 0.0f;
    for (i64 k = thread; k < values; k += 256) {
        sum += dz(k);
        product += dz(k) * (to_float(x[offset(k)]) - own.mean);
    }
    parts[0][thread] = sum;
    parts[1][thread] = product;
    __syncthreads();
    sum = product = 0.0f;
    for (int i = 0; i < 256; ++i) {
        sum += parts[0][i];
        product += parts[1][i];
    }
    const float share = 1.0f / static_cast<float>(values), sum_xhat = product * own.invstd;
    for (i64 k = thread; k < values; k += 256) {
        const i64 i = offset(k);
        const float g = dz(k), xhat = (to_float(x[i]) - own.mean) * own.invstd;
        if (RESIDUAL || MASK) dresidual[i] = from_float<T>(g);
        dx[i] = from_float<T>((g - sum * share - xhat * (sum_xhat * share)) * own.invstd * own.weight);
    }
    if (AFFINE && thread == 0) {
        dweight[c] = sum_xhat;
        dbias[c] = sum;
    }
}

// Block (s, p) has positions [p piece, (p + 1) piece) of slice s. `scratch` holds per slice a row of kSlots (sum, product) for the totals,
// then one per piece; `counters` a u32 per slice.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_backward_sums(
    T* dx, float* dweight, float* dbias, T* dresidual, float* scratch, u32* counters, const T* dy, const T* x, const float* mean,
    const float* invstd, const P* weight, const P* bias, const T* residual, const u8* mask, i64 batch, i64 channels, i64 length, i64 piece) {
    __shared__ Exchange exchange;
    __shared__ Coefficients f;
    const Layout at(batch, channels, length);
    const u32 share = static_cast<u32>(piece), thread = threadIdx.x, pieces = gridDim.y;
    const u32 slice = blockIdx.x, channel = at.channel(slice);
    const u32 begin = blockIdx.y * share, end = channel < at.channels ? min(begin + share, at.positions) : 0;
    const u32 c = at.slot_channel(slice, thread);
    const bool leads = thread < kSlots && c < at.channels;
    const Parameters own = leads ? Parameters(mean, invstd, weight, bias, c) : Parameters();
    if (thread < kSlots) own.store(f, thread);
    __syncthreads();
    Sums s;
    for (u32 position = begin + at.first; position < begin + share; position += kChunk) {
        const int n = Layout::valid(position, end);
        Vector g[BATCH], v[BATCH], r[BATCH];
        load_batch<TRAINING>(g, dy, at, channel, position, n);
        load_batch<TRAINING>(v, x, at, channel, position, n);
        if (RESIDUAL) load_batch<TRAINING>(r, residual, at, channel, position, n);
        const u32 bits = MASK && n > 0 ? load_mask(mask, at, channel, position, n) : 0;
        s.add(g, v, r, bits, f, at);
        if (MASK) store_batch<true>(dresidual, g, at, channel, position, n);
        if (!TRAINING) apply_batch(dx, dresidual, g, v, r, f, at, channel, position, n);
    }
    if (!TRAINING && !AFFINE) return;
    float sum = 0.0f, product = 0.0f;
    block_sums(s, exchange, sum, product);
    float* const total = scratch + slice * (pieces + 1) * (2 * kSlots);
    if (pieces > 1) {
        float* const rows = total + 2 * kSlots;
        if (leads) store(rows + 2 * (blockIdx.y * kSlots + thread), Vec<float, 2>{sum, product});
        if (!is_last_block(counters + slice, pieces)) return;
        add_rows(rows, pieces, exchange, sum, product);
    }
    if (!leads) return;
    f.write(dweight, dbias, thread, c, sum, product);
    if (TRAINING) store(total + 2 * thread, Vec<float, 2>{sum, product});
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_backward_apply(
    T* dx, T* dresidual, float* scratch, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight,
    const P* bias, const T* residual, i64 batch, i64 channels, i64 length, i64 piece) {
    __shared__ Coefficients f;
    const Layout at(batch, channels, length);
    const u32 share = static_cast<u32>(piece), thread = threadIdx.x, own_piece = gridDim.y - 1 - blockIdx.y;
    const u32 slice = gridDim.x - 1 - blockIdx.x, channel = at.channel(slice);
    const u32 begin = own_piece * share, end = channel < at.channels ? min(begin + share, at.positions) : 0;
    const u32 c = at.slot_channel(slice, thread);
    const bool leads = thread < kSlots && c < at.channels;
    const Parameters own = leads ? Parameters(mean, invstd, weight, bias, c) : Parameters();
    if (thread < kSlots) own.store(f, thread);
    if (leads) {
        const Vec<float, 2> total = load<2>(scratch + slice * (gridDim.y + 1) * (2 * kSlots) + 2 * thread);
        f.set_sums(thread, total[0], total[1], Layout::elements(at.positions));
    }
    __syncthreads();
    for (u32 position = begin + at.first; position < begin + share; position += kChunk) {
        const int n = Layout::valid(position, end);
        Vector g[BATCH], v[BATCH], r[BATCH];
        load_batch(g, MASK ? dresidual : dy, at, channel, position, n);
        load_batch(v, x, at, channel, position, n);
        if (RESIDUAL) load_batch(r, residual, at, channel, position, n);
        apply_batch(dx, dresidual, g, v, r, f, at, channel, position, n);
    }
}
