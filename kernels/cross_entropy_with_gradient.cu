// Cross entropy with class indices and its gradient in one pass over the logits (see CrossEntropyWithGradient.cs): loss, dx for dloss = 1
// (dx may be x) and the number of rows whose first maximum is the target. Formulas: cross_entropy.cu.
//
// Mapping: common/cross_entropy_rows.cuh. A block stays and takes rows in turn. While it works on one, the next STAGES are on their way to
// shared memory (cp.async; each thread reads what it copied itself), so that reads, arithmetic and writes of different rows overlap.
// A row that is not WHOLE goes through the registers in chunks, first for the sum and then, backwards, for the gradient.
// The gradient needs the divisor before the first row is done, so the mean counts the targets first and meets at a grid barrier
// while the first rows are on their way (cooperative launch).
// Bytes per logit (T = bytes of the storage type): 2 T; of a row that is not WHOLE 3 T, of which the cache serves T where it keeps the
// rows of all blocks. The target's entry of a gradient is written twice.
// Registers as in cross_entropy.cu. Arithmetic in f32. Losses are added per thread, block and grid in an order that depends on the number of
// blocks; nothing else does.
#include "common/cross_entropy_rows.cuh"

#ifndef STAGES  // rows or chunks on their way to shared memory
#define STAGES 1
#endif

using namespace gpuengine;

// What a block does one after the other: of each of its rows the scan and the gradient, of one that is not WHOLE chunk by chunk.
struct Work {
    i64 start;  // first of the rows that the block has at this time
    i32 step;   // of the 2 chunks steps of a row that is not WHOLE
    DEVICE void next(i32 chunks) {
        if (!WHOLE && ++step < 2 * chunks) return;
        step = 0;
        start += static_cast<i64>(gridDim.x) * kRows;
    }
    DEVICE i32 chunk(i32 chunks) const { return WHOLE ? 0 : step < chunks ? step : 2 * chunks - 1 - step; }
};

// `partial`: four words per block.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_with_gradient(
    float* loss, T* dx, i64* correct, float* partial, u32* counters, const T* x, const Index* target, const T* weight, i64 rows, i64 classes) {
    DYNAMIC_SHARED(T, ring);
    LossCounters* const counter = reinterpret_cast<LossCounters*>(counters);
    const i32 lane = lane_of_row();
    // Chunks of any row: those of one that begins at the first class of a vector may be fewer, the last is then empty.
    const i32 chunks = WHOLE ? 1 : static_cast<i32>((classes + (ALIGNED ? 0 : VECTOR - 1) + kChunk * VECTOR - 1) / (kChunk * VECTOR));

    // The vectors of a stage, thread by thread.
    const auto slot = [&](int stage, int h) { return ring + ((stage * HELD + h) * THREADS + static_cast<int>(threadIdx.x)) * VECTOR; };
    const auto fetch = [&](const Work& work, int stage) {
        if (work.start < rows) {
            const Row row(x, work.start + row_of_block(), rows, classes);
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = work.chunk(chunks) * kChunk + lane + h * LANES;
                if (i < row.vectors) row.fetch(slot(stage, h), i);
            }
        }
        async_commit();
    };
    Work work{static_cast<i64>(blockIdx.x) * kRows, 0}, ahead = work;
#pragma unroll
    for (int stage = 0; stage < STAGES; ++stage) {
        fetch(ahead, stage);
        ahead.next(chunks);
    }

    Row row(x, work.start + row_of_block(), rows, classes);
    Index raw = read_target(row, target);
    float divisor = 1.0f;
    if (REDUCTION == 0) {
        float weights = 0.0f;
        i32 targets = 0;
        bool invalid = false;
        for (i64 i = global_thread(); i < rows; i += global_threads()) {
            const i32 t = read_class(target, i, classes);
            targets += t != kIgnored;
            invalid |= t == kInvalid;
            if (WEIGHTED) weights += class_weight(t, weight);
        }
        divisor = grid_divisor(targets, weights, invalid, partial + 3 * gridDim.x, counter);
    }
    const float class_weights = sum_of_class_weights(weight, classes), scale = 1.0f / divisor;
    const float share = SMOOTHING / static_cast<float>(classes);
    float losses = 0.0f, picked = 0.0f, smooth = 0.0f, w = 0.0f;
    i32 right = 0, t = kIgnored;
    int turn = 0, stage = 0;
    Scan scan = Scan::empty();
    RowGradient gradient{};
    while (work.start < rows) {
        if (WHOLE || work.step == 0) {
            t = share_target(raw, row);
            w = read_weight(t, weight);
            // That of the next row is on its way while this one is worked on.
            const Row next(x, work.start + static_cast<i64>(gridDim.x) * kRows + row_of_block(), rows, classes);
            raw = read_target(next, target);
            scan = Scan::empty();
            picked = smooth = 0.0f;
        }
        const i32 first = work.chunk(chunks) * kChunk + lane;
        Vector held[HELD];
        async_wait<STAGES - 1>();
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            held[h] = Vector::zero();
            if (first + h * LANES < row.vectors) load_packed<false>(held[h], static_cast<const T*>(slot(stage, h)));
        }
        fetch(ahead, stage);  // what was there is in registers
        ahead.next(chunks);
        stage = stage + 1 == STAGES ? 0 : stage + 1;

        if (WHOLE || work.step < chunks) scan_chunk(row, first, held, t, scan, picked);
        if (WHOLE || work.step == chunks - 1) {
            scan = merge_row(scan, turn);
            const Coefficients k(t, w, share, class_weights);
            gradient = RowGradient{scan.reference, k.total * scale / scan.sum, share * scale, t == kIgnored ? 0u : 0xffffffffu};
        }
        if (WHOLE || work.step >= chunks) {
            T* const out = dx + (row.base - x);
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = first + h * LANES;
                if (i >= row.vectors) continue;
                if (kSmooth) smooth += smooth_sum(row, i, held[h], scan.reference, weight);
                row.store(out, i, gradient(row, i, held[h], weight));
            }
        }
        if (WHOLE || work.step == 2 * chunks - 1) {
            const float logarithm = log_of_sum(scan.sum);
            if (kSmooth) smooth = class_weights * logarithm - sum_row(smooth, turn);
            if (finishes(row, t)) {
                losses += line_loss(t, w, scan.reference - picked, logarithm, smooth, classes);
                // The sum is NaN where a logit is, or where two are infinite: such a row is never right.
                right += t >= 0 && picked == scan.reference && scan.before < picked && scan.sum > 0.0f;
                // This thread wrote p here: it may be written once more.
                const Coefficients k(t, w, share, class_weights);
                const float of_target = gradient.of(picked, WEIGHTED && t >= 0 ? w : 1.0f) - k.hit * scale;
                if (t >= 0) dx[row.index * classes + t] = from_float<T>(of_target);
            }
            turn ^= 1;
        }
        work.next(chunks);
        row = Row(x, work.start + row_of_block(), rows, classes);
    }
    float unused = 0.0f;
    if (!grid_totals(losses, unused, right, partial, &counter->last)) return;
    loss[0] = REDUCTION == 0 ? losses / divisor : losses;
    correct[0] = right;
    counter->targets = 0;
}
