// Batch normalisation backward in training, dy and x read once: one cooperative launch of groups of `members` blocks, all resident.
// Formulas: batch_norm_backward.cu; mapping within a slice of channels: common/slices.cuh; the way of groups, members, gates and copies
// is that of batch_norm_one_read.cu, with two tensors kept (dy or dz, and x) and sums in place of moments.
//
// With MASK dz = dy where the bit is set is written, as the residual's gradient, while the sums are made; it takes the place of dy in
// shared memory, and is what is read again for positions beyond `resident`.
//
// Bytes: dy, x once, dx once, with MASK 1 bit read and dz written per element, with RESIDUAL the residual twice and its gradient
// once; dy (dz) and x again for positions beyond `resident`. Rows of 8 bytes per member and channel, written and read once.
// Registers (bf16, mask), live at most: sums 16 + dy 16 + x 16 + coefficients 16 + addresses 20 + loop 14 = 98 of 128; with a residual and
// another activation 16 + 4 more. Dynamic shared memory: resident positions of 2 x 16 bytes.
// Results depend on the number of members, and so on the device's size, in the last bits; not on the schedule.
#include "common/async_copy.cuh"
#include "common/batch_norm_gradient.cuh"
#include "common/grid.cuh"

#ifndef AHEAD
#define AHEAD 4
#endif

using namespace gpuengine;

// Batches whose copies may be under way while the sums of the next are made.
constexpr u32 kAhead = AHEAD;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_backward_one_read(
    T* dx, float* dweight, float* dbias, T* dresidual, float* scratch, u32* counters, const T* dy, const T* x, const float* mean,
    const float* invstd, const P* weight, const P* bias, const T* residual, const u8* mask, i64 batch, i64 channels, i64 length, i64 members,
    i64 share, i64 resident, i64 turns) {
    DYNAMIC_SHARED(T, held);
    __shared__ Exchange exchange;
    __shared__ Coefficients tables[2];  // of the slice that is held and of the one that comes, in turn
    const Layout at(batch, channels, length);
    const u32 blocks = static_cast<u32>(members), own_share = static_cast<u32>(share);
    const u32 distance = static_cast<u32>(turns), group = blockIdx.x / blocks, rank = blockIdx.x % blocks, groups = gridDim.x / blocks;
    const u32 begin = min(rank * own_share, at.positions), end = min(begin + own_share, at.positions);
    const u32 batches = ceil_div(min(static_cast<u32>(resident), end - begin), kChunk), chunks = ceil_div(end - begin, kChunk);
    const float count = Layout::elements(at.positions);
    // Rows of partial sums, then the totals. A member writes its next row after the gate has opened, and then these have been added; the next
    // totals come after all have arrived again, and then these have been read.
    constexpr u32 row = 2 * kSlots;
    float* const rows = scratch + group * (blocks + 1) * row;
    Gate gate(counters + group * kGateWords);
    T* const own_dy = held + threadIdx.x * VECTOR;
    T* const own_x = own_dy + static_cast<u32>(resident) * (WIDTH * VECTOR);
    const auto parameters = [&](u32 slice, u32 thread) {
        const u32 c = at.slot_channel(slice, thread);
        return thread < kSlots && c < at.channels ? Parameters(mean, invstd, weight, bias, c) : Parameters();
    };
    const Parameters initial = parameters(group, threadIdx.x);
    if (threadIdx.x < kSlots) initial.store(tables[0], threadIdx.x);
    __syncthreads();
    if (distance > 0 && group >= distance) gate.wait_turn();

    // The slice that is held has the number `next` - groups; at first there is none.
    u32 round = 0;
    for (u32 next = group;; next += groups, ++round) {
        const bool loads = next < at.slices(), holds = round > 0;
        const u32 old_channel = at.channel(next - groups), channel = at.channel(next);
        const bool old_valid = holds && old_channel < at.channels, valid = loads && channel < at.channels;
        const Coefficients& old = tables[(round + 1) % 2];
        Coefficients& f = tables[round % 2];
        Sums s;
        for (u32 b = 0; b < batches + kAhead; ++b) {
            const u32 position = opaque(begin + b * kChunk + at.first);
            const u32 arrived = position - kAhead * kChunk;
            const int ready = valid && b >= kAhead ? Layout::valid(arrived, end) : 0;
            const u32 bits = MASK && ready > 0 ? load_mask(mask, at, channel, arrived, ready) : 0;
            if (b < batches) {
                const int n = Layout::valid(position, end);
                if (holds) {
                    const int kept = old_valid ? n : 0;
                    Vector g[BATCH], v[BATCH], r[BATCH];
                    if (RESIDUAL) load_batch(r, residual, at, old_channel, position, kept);
                    load_held(g, own_dy, b, kept);
                    load_held(v, own_x, b, kept);
                    apply_batch(dx, dresidual, g, v, r, old, at, old_channel, position, kept);
                }
#pragma unroll
                for (int j = 0; j < BATCH; ++j) {
                    if (!valid || j >= n) continue;
                    const i64 offset = at.offset(position + j * kStep, channel);
                    async_copy<VECTOR>(held_at(own_dy, b, j), dy + offset);
                    async_copy<VECTOR>(held_at(own_x, b, j), x + offset);
                }
            }
            async_commit();
            async_wait<kAhead>();
            if (b < kAhead || !valid) continue;
            Vector g[BATCH], v[BATCH], r[BATCH];
            if (RESIDUAL) load_batch<true>(r, residual, at, channel, arrived, ready);
            load_held(g, own_dy, b - kAhead, ready);
            load_held(v, own_x, b - kAhead, ready);
            s.add(g, v, r, bits, f, at);
            if (!MASK) continue;
#pragma unroll
            for (int j = 0; j < BATCH; ++j)
                if (j < ready) store_packed<false>(held_at(own_dy, b - kAhead, j), g[j]);
            store_batch(dresidual, g, at, channel, arrived, ready);
        }
        if (!loads) break;
        for (u32 k = batches; k < chunks; ++k) {
            const u32 position = opaque(begin + k * kChunk + at.first);
            const int n = valid ? Layout::valid(position, end) : 0;
            Vector g[BATCH], v[BATCH], r[BATCH];
            load_batch<true>(g, dy, at, channel, position, n);
            load_batch<true>(v, x, at, channel, position, n);
            if (RESIDUAL) load_batch<true>(r, residual, at, channel, position, n);
            const u32 bits = MASK && n > 0 ? load_mask(mask, at, channel, position, n) : 0;
            s.add(g, v, r, bits, f, at);
            if (MASK) store_batch<true>(dresidual, g, at, channel, position, n);
        }

        const u32 thread = opaque(threadIdx.x), c = at.slot_channel(next, thread);
        const bool leads = thread < kSlots && c < at.channels;
        const Parameters coming = parameters(next + groups, thread);  // on their way while the sums are put together
        float sum = 0.0f, product = 0.0f;
        block_sums(s, exchange, sum, product);
        if (blocks == 1) {
            if (leads) f.write(dweight, dbias, thread, c, sum, product);
        } else {
            if (leads) store(rows + rank * row + 2 * thread, Vec<float, 2>{sum, product});
            if (gate.arrive(blocks)) {
                if (distance > 0 && round == 0 && group + distance < groups && thread == 0)
                    Gate::call(gate.counter + distance * kGateWords, blocks);
                add_rows(rows, blocks, exchange, sum, product);
                if (leads) {
                    f.write(dweight, dbias, thread, c, sum, product);
                    store(rows + blocks * row + 2 * thread, Vec<float, 2>{sum, product});
                }
                gate.open();
            } else {
                gate.wait();
                if (leads) {
                    const Vec<float, 2> totals = load<2>(rows + blocks * row + 2 * thread);
                    sum = totals[0];
                    product = totals[1];
                }
            }
        }
        if (leads) f.set_sums(thread, sum, product, count);
        if (thread < kSlots) coming.store(tables[(round + 1) % 2], thread);
        __syncthreads();

        for (u32 k = chunks; k-- > batches;) {
            const u32 position = opaque(begin + k * kChunk + at.first);
            const int n = valid ? Layout::valid(position, end) : 0;
            Vector g[BATCH], v[BATCH], r[BATCH];
            load_batch(g, MASK ? dresidual : dy, at, channel, position, n);
            load_batch(v, x, at, channel, position, n);
            if (RESIDUAL) load_batch(r, residual, at, channel, position, n);
            apply_batch(dx, dresidual, g, v, r, f, at, channel, position, n);
        }
    }
}
