// Cross entropy with class indices over rows x [rows, classes], in torch's exact form (see CrossEntropy.cs).
//
//   -logp[c] = log_sum + maximum - x[c],  log_sum = log sum exp(x - maximum): two outputs, whose sum would lose digits
//   loss of a row = (1 - s) w[t] -logp[t] + s / C sum over c of w[c] -logp[c],  s = SMOOTHING
//   ignored targets add 0; an index that is no class makes the loss NaN
//   mean divides by the sum of w[t] over the rows that count (the divisor)
//   dx = (softmax sum(k) - k) dloss / divisor,  k_c being the coefficient of -log softmax_c
//
//   cross_entropy_forward    loss, maximum, log_sum and divisor
//   cross_entropy_backward   dx from maximum, log_sum and divisor
//
// Mapping: common/cross_entropy_rows.cuh. Bytes per logit (T = bytes of the storage type): forward T, backward 2 T. The target's entry of
// a gradient is written twice.
// Registers: 4 HELD for the vectors + 8 for one in f32 + about 34: 42 with HELD 1, 50 with 2, 58 with 4, 74 with 8. BLOCKS holds the compiler
// to what the launcher counts on: 1536, 1280, 1024 and 768 threads per multiprocessor.
// Arithmetic in f32. Losses are added per thread, block and grid in an order that depends on the number of blocks; nothing else does.
#include "common/cross_entropy_rows.cuh"

using namespace gpuengine;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_forward(
    T* loss, T* maximum, T* log_sum, T* divisor, float* partial, u32* counters, const T* x, const Index* target, const T* weight, i64 rows,
    i64 classes) {
    const float class_weights = sum_of_class_weights(weight, classes);
    const i32 lane = lane_of_row();
    float losses = 0.0f, weights = 0.0f;
    int turn = 0;
    for (i64 start = static_cast<i64>(blockIdx.x) * kRows; start < rows; start += static_cast<i64>(gridDim.x) * kRows, turn ^= 1) {
        const Row row(x, start + row_of_block(), rows, classes);
        Vector held[HELD];
        load_chunk(row, lane, held);
        const i32 t = share_target(read_target(row, target), row);
        float picked = 0.0f, smooth = 0.0f;
        Scan scan = Scan::empty();
        scan_chunk(row, lane, held, t, scan, picked);
        for (i32 chunk = kChunk; !WHOLE && chunk < row.vectors; chunk += kChunk) {
            load_chunk(row, chunk + lane, held);
            scan_chunk(row, chunk + lane, held, t, scan, picked);
        }
        scan = merge_row(scan, turn);
        const float logarithm = log_of_sum(scan.sum);
        if (kSmooth) {
            const i32 last = WHOLE ? 0 : (row.vectors - 1) / kChunk * kChunk;
            for (i32 chunk = 0; !WHOLE && chunk < last; chunk += LANES) {
                Vector v;
                row.load(v, chunk + lane);
                smooth += smooth_sum(row, chunk + lane, v, scan.reference, weight);
            }
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = last + lane + h * LANES;
                if (i < row.vectors) smooth += smooth_sum(row, i, held[h], scan.reference, weight);
            }
            smooth = class_weights * logarithm - sum_row(smooth, turn);
        }
        if (!finishes(row, t)) continue;
        const float w = class_weight(t, weight), value = line_loss(t, w, scan.reference - picked, logarithm, smooth, classes);
        maximum[row.index] = from_float<T>(scan.reference);
        log_sum[row.index] = from_float<T>(logarithm);
        if (REDUCTION == 2) loss[row.index] = from_float<T>(value);
        losses += value;
        weights += w;
    }
    i32 correct = 0;
    if (!grid_totals(losses, weights, correct, partial, &reinterpret_cast<LossCounters*>(counters)->last)) return;
    divisor[0] = from_float<T>(weights);
    if (REDUCTION != 2) loss[0] = from_float<T>(REDUCTION == 0 ? losses / weights : losses);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_backward(
    T* dx, const T* dloss, const T* x, const Index* target, const T* weight, const T* maximum, const T* log_sum, const T* divisor,
    i64 rows, i64 classes) {
    // Read and made once per row.
    __shared__ RowGradient gradients[2][kRows];
    __shared__ float hits[2][kRows];  // times scale
    __shared__ i32 targets[2][kRows];
    __shared__ float whole;  // dloss, divided for the mean; with REDUCTION none each row has its own
    const i32 lane = lane_of_row();
    const float share = SMOOTHING / static_cast<float>(classes), class_weights = sum_of_class_weights(weight, classes);
    if (REDUCTION != 2) {
        if (threadIdx.x == 0) whole = REDUCTION == 0 ? to_float(dloss[0]) / to_float(divisor[0]) : to_float(dloss[0]);
        __syncthreads();
    }
    int turn = 0;
    for (i64 start = static_cast<i64>(blockIdx.x) * kRows; start < rows; start += static_cast<i64>(gridDim.x) * kRows, turn ^= 1) {
        const Row row(x, start + row_of_block(), rows, classes);
        Vector held[HELD];
        load_chunk(row, lane, held);
        if (row.exists() && lane == 0) {
            const i32 t = read_class(target, row.index, classes);
            const float scale = REDUCTION == 2 ? to_float(dloss[row.index]) : whole;
            const Coefficients k(t, t < 0 ? 0.0f : class_weight(t, weight), share, class_weights);
            const float sum = expf(to_float(log_sum[row.index]));
            gradients[turn][row_of_block()] = RowGradient{to_float(maximum[row.index]), k.total * scale / sum, share * scale, t == kIgnored ? 0u : 0xffffffffu};
            hits[turn][row_of_block()] = k.hit * scale;
            targets[turn][row_of_block()] = t;
        }
        if (kWarps == 1) {
            __syncwarp();
        } else {
            __syncthreads();
        }
        if (!row.exists()) continue;
        const RowGradient gradient = gradients[turn][row_of_block()];
        const i32 t = targets[turn][row_of_block()], holder = t < 0 ? -1 : (t + row.shift) / VECTOR;
        T* const out = dx + (row.base - x);
        for (i32 chunk = 0;;) {
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = chunk + lane + h * LANES;
                if (i >= row.vectors) continue;
                row.store(out, i, gradient(row, i, held[h], weight));
                if (i != holder) continue;
                float picked = 0.0f;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) picked = row.class_of(i, e) == t ? held[h][e] : picked;
                const float of_target = gradient.of(picked, kSmooth && WEIGHTED ? to_float(weight[t]) : 1.0f) - hits[turn][row_of_block()];
                dx[row.index * classes + t] = from_float<T>(of_target);
            }
            chunk += kChunk;
            if (WHOLE || chunk >= row.vectors) break;
            load_chunk(row, chunk + lane, held);
        }
    }
}
