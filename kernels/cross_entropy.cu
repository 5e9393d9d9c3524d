// Cross entropy with class indices over rows x [rows, classes], in torch's exact form (see CrossEntropy.cs and
// CrossEntropyWithGradient.cs).
//
//   -logp[c] = log_sum + maximum - x[c],  log_sum = log sum exp(x - maximum): two outputs, whose sum would lose digits
//   loss of a row = (1 - s) w[t] -logp[t] + s / C sum over c of w[c] -logp[c],  s = SMOOTHING
//   ignored targets add 0; an index that is no class makes the loss NaN
//   mean divides by the sum of w[t] over the rows that count (the divisor)
//   dx = (softmax sum(k) - k) dloss / divisor,  k_c being the coefficient of -log softmax_c
//
//   cross_entropy_forward         loss, maximum, log_sum and divisor
//   cross_entropy_with_gradient   loss, dx for dloss = 1 (dx may be x) and the number of rows whose first maximum is the target
//   cross_entropy_backward        dx from maximum, log_sum and divisor
//
// Mapping: LANES threads per row, THREADS / LANES rows of a block at a time, HELD vectors of 16 bytes of each thread in flight. A row
// that starts between two vectors (ALIGNED 0) is taken as the vectors that it touches, the first and the last of them by element.
// WHOLE: the row fits into the registers of its threads (LANES HELD VECTOR classes). Else it is scanned in chunks of that size; the
// last stays in registers, those before it in shared memory (KEEP 1) or they are read again (KEEP 0).
// Maximum, sum of exponentials and the largest logit before the target in one scan: the sum is rescaled when the maximum grows.
// The gradient needs the divisor before the first row is done, so the mean counts the targets first and meets at a grid barrier
// while the first rows are on their way (cooperative launch).
// Bytes per logit (T = bytes of the storage type): forward T, with gradient 2 T, backward 2 T; of chunks that are read again T more.
// Registers: 4 HELD for the vectors + 8 for one in f32 + about 34: 42 with HELD 1, 50 with 2, 58 with 4, 74 with 8. BLOCKS holds the compiler
// to what the launcher counts on: 1536, 1280, 1024 and 768 threads per multiprocessor, which have 24 to 96 KiB on their way.
// Arithmetic in f32. exp(v) is 2^(v log2 e) by the hardware's instruction (relative error 2^-22 + |v| 2^-24): two per logit in a
// kernel that else only moves data. Losses are added per thread, block and grid in an order that depends on the number of blocks;
// nothing else does.
#include "common/cross_entropy.cuh"

#ifndef LANES
#define LANES 32
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef HELD
#define HELD 4
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef ALIGNED
#define ALIGNED 1
#endif
#ifndef WHOLE
#define WHOLE 1
#endif
#ifndef KEEP
#define KEEP 0
#endif
#ifndef BLOCKS  // at least so many per multiprocessor
#define BLOCKS 4
#endif

using namespace gpuengine;

using T = DTYPE;
using Index = INDEX_DTYPE;

static_assert((LANES & (LANES - 1)) == 0 && THREADS % LANES == 0 && THREADS % kWarpSize == 0, "a warp holds whole rows, or a row whole warps");
static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");

using Vector = Vec<T, VECTOR>;

constexpr int kRows = THREADS / LANES;                                  // rows of a block at a time
constexpr int kShare = LANES < kWarpSize ? LANES : kWarpSize;           // lanes of a warp that share a row
constexpr int kWarps = LANES / kShare;                                  // warps that share a row
constexpr int kChunk = LANES * HELD;                                    // vectors of a chunk

// Where a row is, in vectors; those of a row that does not exist are none.
struct Row {
    const T* base;  // of vector 0, which may begin before the row
    i64 index;
    i32 classes, shift, vectors;
    DEVICE Row(const T* x, i64 row, i64 rows, i64 row_classes) : index(row), classes(static_cast<i32>(row_classes)) {
        const i64 begin = row < rows ? row * row_classes : 0;
        shift = ALIGNED ? 0 : static_cast<i32>(begin % VECTOR);
        base = x + (begin - shift);
        vectors = row < rows ? (classes + shift + VECTOR - 1) / VECTOR : 0;
    }
    DEVICE bool exists() const { return vectors != 0; }
    DEVICE i32 class_of(i32 vector, int e) const { return vector * VECTOR + e - shift; }
    DEVICE bool is_inside(i32 vector) const { return ALIGNED || (class_of(vector, 0) >= 0 && class_of(vector, VECTOR) <= classes); }
    DEVICE bool has(i32 c) const { return ALIGNED || (c >= 0 && c < classes); }
    // Classes that the row does not have are -infinity.
    DEVICE Vector load(i32 vector) const {
        const T* const from = base + static_cast<i64>(vector) * VECTOR;
        if (is_inside(vector)) return WHOLE || KEEP ? load_once<VECTOR>(from) : gpuengine::load<VECTOR>(from);
        Vector v;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) v[e] = has(class_of(vector, e)) ? from[e] : from_float<T>(-infinity());
        return v;
    }
    DEVICE void store(T* out, i32 vector, const Vector& v) const {
        T* const to = out + static_cast<i64>(vector) * VECTOR;
        if (is_inside(vector)) {
            gpuengine::store(to, v);
            return;
        }
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            if (has(class_of(vector, e))) to[e] = v[e];
        }
    }
};

// What a scan finds. Exponentials are taken against `reference`, the maximum or, where that is -infinity, the lowest finite number.
struct Scan {
    float reference, sum, before;  // before: the largest logit of the classes before the target
    DEVICE static Scan empty() { return Scan{-kMaxFloat, 0.0f, -infinity()}; }
};

DEVICE int lane_of_row() { return static_cast<int>(threadIdx.x) % LANES; }
DEVICE int row_of_block() { return static_cast<int>(threadIdx.x) / LANES; }

DEVICE void load_chunk(const Row& row, i32 first, Vector (&held)[HELD]) {
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i32 i = first + h * LANES;
        if (i < row.vectors) held[h] = row.load(i);
    }
}

DEVICE void scan_chunk(const Row& row, i32 first, const Vector (&held)[HELD], i32 target, Scan& scan, float& picked) {
    const i32 holder = target < 0 ? -1 : (target + row.shift) / VECTOR;
    float largest = scan.reference;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i32 i = first + h * LANES;
        if (i >= row.vectors) continue;
        float top = to_float(held[h][0]);
#pragma unroll
        for (int e = 1; e < VECTOR; ++e) top = fmaxf(top, to_float(held[h][e]));
        if (i < holder) scan.before = fmaxf(scan.before, top);
        if (i == holder) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float v = to_float(held[h][e]);
                if (row.class_of(i, e) < target) scan.before = fmaxf(scan.before, v);
                if (row.class_of(i, e) == target) picked = v;
            }
        }
        largest = fmaxf(largest, top);
    }
    float sum = scan.sum * exp2_approx((scan.reference - largest) * kLog2E);
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        if (first + h * LANES >= row.vectors) continue;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) sum += exp2_approx((to_float(held[h][e]) - largest) * kLog2E);
    }
    scan.reference = largest;
    scan.sum = sum;
}

// Over LANES neighbouring lanes of a warp, or over so many values that each warp of a row has in its first lanes.
template <int Width>
DEVICE Scan merge_lanes(Scan s) {
    const float reference = warp_max<Width>(s.reference);
    s.sum = warp_sum<Width>(s.sum * exp2_approx((s.reference - reference) * kLog2E));
    s.before = warp_max<Width>(s.before);
    s.reference = reference;
    return s;
}

// Over the threads of a row. One barrier: neighbouring rows of a block's sequence use the two halves of the shared array in turn.
DEVICE Scan merge_row(Scan s, int turn) {
    __shared__ Scan partial[2][THREADS / kWarpSize];
    s = merge_lanes<kShare>(s);
    if (kWarps == 1) return s;
    if (lane_index() == 0) partial[turn][warp_index()] = s;
    __syncthreads();
    return merge_lanes<kWarps>(partial[turn][warp_index() / kWarps * kWarps + lane_index() % kWarps]);
}

DEVICE float sum_row(float v, int turn) {
    __shared__ float partial[2][THREADS / kWarpSize];
    v = warp_sum<kShare>(v);
    if (kWarps == 1) return v;
    if (lane_index() == 0) partial[turn][warp_index()] = v;
    __syncthreads();
    return warp_sum<kWarps>(partial[turn][warp_index() / kWarps * kWarps + lane_index() % kWarps]);
}

// The class and the weight of a row's target, read by the first of the lanes that share it.
DEVICE i32 read_target(const Row& row, const Index* target) {
    i32 t = kIgnored;
    if (row.exists() && lane_index() % kShare == 0) t = read_class(target, row.index, row.classes);
    return __shfl_sync(kFullMask, t, lane_index() / kShare * kShare);
}

DEVICE float read_weight(i32 target, const T* weight) {
    if (!WEIGHTED) return class_weight(target, weight);
    const float w = lane_index() % kShare == 0 ? class_weight(target, weight) : 0.0f;
    return __shfl_sync(kFullMask, w, lane_index() / kShare * kShare);
}

// The thread that holds a row's target, or the first one where there is none: it finishes the row.
DEVICE bool finishes(const Row& row, i32 target) {
    return row.exists() && lane_of_row() == (target < 0 ? 0 : (target + row.shift) / VECTOR % LANES);
}

// Chunk 0 is in `held` at the start; at the end the last one is.
template <class Chunk>
DEVICE Scan scan_row(const Row& row, i32 target, Vector (&held)[HELD], float& picked, Chunk&& keep) {
    Scan scan = Scan::empty();
    const i32 lane = lane_of_row();
    scan_chunk(row, lane, held, target, scan, picked);
    for (i32 chunk = kChunk; !WHOLE && chunk < row.vectors; chunk += kChunk) {
        keep(chunk - kChunk);
        load_chunk(row, chunk + lane, held);
        scan_chunk(row, chunk + lane, held, target, scan, picked);
    }
    return scan;
}

DEVICE i32 last_chunk(const Row& row) { return WHOLE ? 0 : (row.vectors - 1) / kChunk * kChunk; }

// A thread's part of the sum over the classes of weight (x - maximum), which smoothing needs.
DEVICE float smooth_sum(const Row& row, i32 vector, const Vector& v, float reference, const T* weight) {
    float sum = 0.0f;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        const i32 c = row.class_of(vector, e);
        if (row.has(c)) sum += (to_float(v[e]) - reference) * (WEIGHTED ? to_float(weight[c]) : 1.0f);
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_forward(
    T* loss, T* maximum, T* log_sum, T* divisor, float* partial, u32* counters, const T* x, const Index* target, const T* weight, i64 rows,
    i64 classes) {
    const float class_weights = sum_of_class_weights(weight, classes);
    float losses = 0.0f, weights = 0.0f;
    int turn = 0;
    for (i64 start = static_cast<i64>(blockIdx.x) * kRows; start < rows; start += static_cast<i64>(gridDim.x) * kRows, turn ^= 1) {
        const Row row(x, start + row_of_block(), rows, classes);
        Vector held[HELD];
        load_chunk(row, lane_of_row(), held);
        const i32 t = read_target(row, target);
        float picked = 0.0f, smooth = 0.0f;
        const Scan scan = merge_row(scan_row(row, t, held, picked, [](i32) {}), turn);
        const float logarithm = log_of_sum(scan.sum);
        if (kSmooth) {
            const i32 last = last_chunk(row);
            for (i32 i = lane_of_row(); i < last; i += LANES) smooth += smooth_sum(row, i, row.load(i), scan.reference, weight);
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = last + lane_of_row() + h * LANES;
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

// The gradient of one vector: p factor - k scale, 0 where the target is ignored (not a product with 0: the mean over nothing but
// ignored targets is NaN, their gradients are 0).
struct RowGradient {
    float reference, factor, hit, share;  // hit and share times scale
    i32 target;
    DEVICE Vector operator()(const Row& row, i32 vector, const Vector& v, const T* weight) const {
        Vec<float, VECTOR> out;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            out[e] = exp2_approx((to_float(v[e]) - reference) * kLog2E) * factor;
            if (kSmooth) {
                const i32 c = row.class_of(vector, e);
                out[e] -= WEIGHTED ? (row.has(c) ? to_float(weight[c]) : 0.0f) * share : share;
            }
        }
        if (target >= 0 && vector == (target + row.shift) / VECTOR) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                if (row.class_of(vector, e) == target) out[e] -= hit;
            }
        }
        if (target == kIgnored) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) out[e] = 0.0f;
        }
        return from_float<T>(out);
    }
};

// `partial`: four words per block.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_with_gradient(
    float* loss, T* dx, i64* correct, float* partial, u32* counters, const T* x, const Index* target, const T* weight, i64 rows, i64 classes) {
    DYNAMIC_SHARED(Vector, kept);
    LossCounters* const counter = reinterpret_cast<LossCounters*>(counters);
    const i32 lane = lane_of_row();
    Row row(x, static_cast<i64>(blockIdx.x) * kRows + row_of_block(), rows, classes);
    Vector held[HELD];
    load_chunk(row, lane, held);
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
    float losses = 0.0f;
    i32 right = 0;
    int turn = 0;
    for (i64 start = static_cast<i64>(blockIdx.x) * kRows; start < rows; turn ^= 1) {
        const i32 t = read_target(row, target);
        const float w = read_weight(t, weight);
        float picked = 0.0f, smooth = 0.0f;
        const Scan scan = merge_row(
            scan_row(row, t, held, picked,
                     [&](i32 chunk) {
#pragma unroll
                         for (int h = 0; KEEP && h < HELD; ++h) kept[(chunk / LANES + h) * THREADS + threadIdx.x] = held[h];
                     }),
            turn);
        const Coefficients k(t, w, share, class_weights);
        const RowGradient gradient{scan.reference, k.total * scale / scan.sum, k.hit * scale, share * scale, t};
        T* const out = dx + (row.base - x);
        const i32 last = last_chunk(row);
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i32 i = last + lane + h * LANES;
            if (i >= row.vectors) continue;
            if (kSmooth) smooth += smooth_sum(row, i, held[h], scan.reference, weight);
            row.store(out, i, gradient(row, i, held[h], weight));
        }
        for (i32 chunk = 0; !WHOLE && chunk < last; chunk += kChunk) {
            if (!KEEP) load_chunk(row, chunk + lane, held);
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = chunk + lane + h * LANES;
                const Vector v = KEEP ? kept[(chunk / LANES + h) * THREADS + threadIdx.x] : held[h];
                if (kSmooth) smooth += smooth_sum(row, i, v, scan.reference, weight);
                row.store(out, i, gradient(row, i, v, weight));
            }
        }
        const float logarithm = log_of_sum(scan.sum);
        if (kSmooth) smooth = class_weights * logarithm - sum_row(smooth, turn);
        if (finishes(row, t)) {
            losses += line_loss(t, w, scan.reference - picked, logarithm, smooth, classes);
            // The sum is NaN where a logit is, or where two are infinite: such a row is never right.
            right += t >= 0 && picked == scan.reference && scan.before < picked && scan.sum > 0.0f;
        }
        start += static_cast<i64>(gridDim.x) * kRows;
        row = Row(x, start + row_of_block(), rows, classes);
        load_chunk(row, lane, held);
    }
    float unused = 0.0f;
    if (!grid_totals(losses, unused, right, partial, &counter->last)) return;
    loss[0] = REDUCTION == 0 ? losses / divisor : losses;
    correct[0] = right;
    counter->targets = 0;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_backward(
    T* dx, const T* dloss, const T* x, const Index* target, const T* weight, const T* maximum, const T* log_sum, const T* divisor,
    i64 rows, i64 classes) {
    __shared__ RowGradient shared[2][kRows];  // read and made once per row
    __shared__ float whole;                   // dloss, divided for the mean; with REDUCTION none each row has its own
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
            shared[turn][row_of_block()] = RowGradient{to_float(maximum[row.index]), k.total * scale / sum, k.hit * scale, share * scale, t};
        }
        if (kWarps == 1) {
            __syncwarp();
        } else {
            __syncthreads();
        }
        if (!row.exists()) continue;
        const RowGradient gradient = shared[turn][row_of_block()];
        T* const out = dx + (row.base - x);
        for (i32 chunk = 0;;) {
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i32 i = chunk + lane + h * LANES;
                if (i < row.vectors) row.store(out, i, gradient(row, i, held[h], weight));
            }
            chunk += kChunk;
            if (WHOLE || chunk >= row.vectors) break;
            load_chunk(row, chunk + lane, held);
        }
    }
}
