// Batch normalisation forward in training, x read once: one cooperative launch of groups of `members` blocks, all resident.
// Formulas: batch_norm.cu; mapping within a slice of channels: common/slices.cuh.
//
// A group takes every groups-th slice. Each member has `share` positions of it and keeps the first `resident` of them in dynamic shared
// memory; the moments are made as they arrive. It writes one row of partial moments, and the last member to arrive at the group's gate
// merges the rows in their order, writes the statistics and opens. Then every member applies: first what did not fit, read again from the
// end (the last part is still in the L2 cache), then what it keeps. While it applies what it keeps, the copies of the next slice go into
// the places that become free, `kAhead` batches ahead of their moments; so a block loads and stores at the same time, and the blocks
// of other groups on the same multiprocessor work while this one waits (a group begins when the one `turns` before it first
// arrives, unless that is 0, so that they do not all wait at once).
//
// Bytes: x, residual once, y once, 1 bit per element with MASK, and x again for positions beyond `resident`; rows of 8 bytes per member
// and channel, written and read once. What is in flight lands in shared memory: with two blocks of 256 threads a multiprocessor has up to
// 128 KB on the way. Registers (bf16, relu, residual, mask), live at most: moments 17 + x 16 + residual 16 + coefficients 12 + addresses
// and loop 35 = 96 of 128. Dynamic shared memory: resident positions of WIDTH vectors.
// Results depend on the number of members, and so on the device's size, in the last bits; not on the schedule.
#include "common/async_copy.cuh"
#include "common/batch_norm_forward.cuh"
#include "common/grid.cuh"

#ifndef AHEAD
#define AHEAD 4
#endif

using namespace gpuengine;

// Batches whose copies may be under way while the moments of the next are made.
constexpr u32 kAhead = AHEAD;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) batch_norm_one_read(
    T* y, float* mean, float* invstd, float* new_mean, float* new_var, u8* mask, i64* positive, float* scratch, u32* counters, const T* x, const P* weight,
    const P* bias, const float* running_mean, const float* running_var, const T* residual, i64 batch, i64 channels, i64 length, i64 members,
    i64 share, i64 resident, i64 turns) {
    DYNAMIC_SHARED(T, held);
    __shared__ Exchange exchange;
    __shared__ Coefficients f;
    Positives positives;
    const Layout at(batch, channels, length);
    const Statistics statistics{mean, invstd, new_mean, new_var, running_mean, running_var};
    const u32 blocks = static_cast<u32>(members), own_share = static_cast<u32>(share);
    const u32 distance = static_cast<u32>(turns), group = blockIdx.x / blocks, rank = blockIdx.x % blocks, groups = gridDim.x / blocks;
    const u32 begin = min(rank * own_share, at.positions), end = min(begin + own_share, at.positions);
    const u32 batches = ceil_div(min(static_cast<u32>(resident), end - begin), kChunk), chunks = ceil_div(end - begin, kChunk);
    const float count = Layout::elements(at.positions);
    // Rows of partial moments. A member writes its next one after the gate has opened, and then these have been merged.
    constexpr u32 row = 2 * kSlots;
    float* const rows = scratch + group * blocks * row;
    Gate gate(counters + group * kGateWords);
    T* const own = held + threadIdx.x * VECTOR;

    if (distance > 0 && group >= distance) gate.wait_turn();

    // The slice that is held has the number `next` - groups; at first there is none.
    u32 round = 0;
    for (u32 next = group;; next += groups, ++round) {
        const bool loads = next < at.slices(), holds = round > 0;
        const u32 old_channel = at.channel(next - groups), channel = at.channel(next);
        const bool old_valid = holds && old_channel < at.channels, valid = loads && channel < at.channels;
        Moments m;
        for (u32 b = 0; b < batches + kAhead; ++b) {
            const u32 position = opaque(begin + b * kChunk + at.first);
            if (b < batches) {
                const int n = Layout::valid(position, end);
                if (holds) {
                    const int kept = old_valid ? n : 0;
                    Vector v[BATCH], r[BATCH];
                    if (RESIDUAL) load_batch(r, residual, at, old_channel, position, kept);
                    load_held(v, own, b, kept);
                    apply_batch(y, mask, v, r, f, at, old_channel, position, kept, positives);
                }
#pragma unroll
                for (int j = 0; j < BATCH; ++j)
                    if (valid && j < n) async_copy<VECTOR>(held_at(own, b, j), x + at.offset(position + j * kStep, channel));
            }
            async_commit();
            async_wait<kAhead>();
            if (b < kAhead || !valid) continue;
            Vector v[BATCH];
            const int n = Layout::valid(position - kAhead * kChunk, end);
            load_held(v, own, b - kAhead, n);
            m.add(v, n);
        }
        if (holds) positives.finish(positive, at, next - groups, exchange);
        if (!loads) break;
        for (u32 k = batches; k < chunks; k += 2) {
            const u32 position = opaque(begin + k * kChunk + at.first);
            const int n = valid ? Layout::valid(position, end) : 0, more = valid ? Layout::valid(position + kChunk, end) : 0;
            Vector v[BATCH], w[BATCH];
            load_batch<true>(v, x, at, channel, position, n);
            load_batch<true>(w, x, at, channel, position + kChunk, more);
            m.add(v, n);
            m.add(w, more);
        }

        // The parameters of slot t are on their way while the moments are put together.
        const u32 thread = opaque(threadIdx.x), c = at.slot_channel(next, thread);
        const bool leads = thread < kSlots && c < at.channels;
        const float w = leads && AFFINE ? to_float(weight[c]) : 1.0f, b = leads && AFFINE ? to_float(bias[c]) : 0.0f;
        float average = 0.0f, m2 = 0.0f;
        block_moments(m, exchange, average, m2);
        if (blocks == 1) {
            if (leads) {
                statistics.write(c, average, m2, count);
                statistics.update_running(c, statistics.running(c, true), average, m2, count);
                Positives::begin(positive, c);
            }
        } else {
            // Slots beyond the channels as well: whoever merges reads whole rows.
            if (thread < kSlots) store(rows + rank * row + 2 * thread, Vec<float, 2>{average, m2});
            if (gate.arrive(blocks)) {
                if (distance > 0 && round == 0 && group + distance < groups && thread == 0)
                    Gate::call(gate.counter + distance * kGateWords, blocks);
                const Vec<float, 2> known = statistics.running(c, leads);
                merge_rows(rows, blocks, own_share, at, exchange, average, m2);
                if (leads) {
                    statistics.write(c, average, m2, count);
                    Positives::begin(positive, c);
                }
                gate.open();
                if (leads) statistics.update_running(c, known, average, m2, count);  // nobody waits for these
            } else {
                gate.wait();
            }
        }
        if (thread < kSlots) f.set(thread, leads ? __ldcg(mean + c) : 0.0f, leads ? __ldcg(invstd + c) * w : 0.0f, b);
        __syncthreads();

        for (u32 k = chunks; k-- > batches;) {
            const u32 position = opaque(begin + k * kChunk + at.first);
            const int n = valid ? Layout::valid(position, end) : 0;
            Vector v[BATCH], r[BATCH];
            load_batch(v, x, at, channel, position, n);
            if (RESIDUAL) load_batch(r, residual, at, channel, position, n);
            apply_batch(y, mask, v, r, f, at, channel, position, n, positives);
        }
    }
}
