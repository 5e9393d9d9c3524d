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
// Mapping: LANES threads per row, THREADS / LANES rows of a block at a time, HELD vectors of 16 bytes of each thread in registers. A row
// that starts between two vectors (ALIGNED 0) is taken as the vectors that it touches, the first and the last of them by element.
// With gradient: a block stays and takes rows in turn. While it works on one, the next STAGES are on their way to shared memory (cp.async;
// each thread reads what it copied itself), so that reads, arithmetic and writes of different rows overlap.
// WHOLE: a row fits into the registers of its threads (LANES HELD VECTOR classes). Else it goes through them in chunks of that size, first
// for the sum and then, backwards, for the gradient.
// Maximum, sum of exponentials and the largest logit before the target in one scan: the sum is rescaled when the maximum grows.
// The gradient needs the divisor before the first row is done, so the mean counts the targets first and meets at a grid barrier
// while the first rows are on their way (cooperative launch).
// Bytes per logit (T = bytes of the storage type): forward T, with gradient 2 T, backward 2 T; of a row that is not WHOLE with gradient
// 3 T, of which the cache serves T where it keeps the rows of all blocks. The target's entry of a gradient is written twice.
// Registers: 4 HELD for the vectors + 8 for one in f32 + about 34: 42 with HELD 1, 50 with 2, 58 with 4, 74 with 8. BLOCKS holds the compiler
// to what the launcher counts on: 1536, 1280, 1024 and 768 threads per multiprocessor.
// Arithmetic in f32. exp(v) is 2^(v log2 e) by the hardware's instruction (relative error 2^-22 + |v| 2^-24): two per logit in a
// kernel that else only moves data. Losses are added per thread, block and grid in an order that depends on the number of blocks;
// nothing else does.
#include "common/async_copy.cuh"
#include "common/cross_entropy.cuh"
#include "common/packed.cuh"

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
#ifndef STAGES  // rows or chunks on their way to shared memory
#define STAGES 1
#endif
#ifndef BLOCKS  // at least so many per multiprocessor
#define BLOCKS 4
#endif

using namespace gpuengine;

using T = DTYPE;
using Index = INDEX_DTYPE;

static_assert((LANES & (LANES - 1)) == 0 && THREADS % LANES == 0 && THREADS % kWarpSize == 0, "a warp holds whole rows, or a row whole warps");
static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");

using Vector = Packed<T, VECTOR>;

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
    DEVICE const T* address(i32 vector) const { return base + static_cast<i64>(vector) * VECTOR; }
    // Classes that the row does not have are -infinity.
    DEVICE void load(Vector& v, i32 vector) const {
        const T* const from = address(vector);
        if (is_inside(vector)) {
            load_packed<true>(v, from);
            return;
        }
        T elements[VECTOR];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) elements[e] = has(class_of(vector, e)) ? from[e] : from_float<T>(-infinity());
        v = pack(elements);
    }
    // The same to shared memory, in the background where it can be.
    DEVICE void fetch(T* shared, i32 vector) const {
        const T* const from = address(vector);
        if (is_inside(vector)) {
            async_copy<VECTOR>(shared, from);
            return;
        }
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            if (has(class_of(vector, e))) {
                async_copy<1>(shared + e, from + e);
            } else {
                shared[e] = from_float<T>(-infinity());
            }
        }
    }
    DEVICE void store(T* out, i32 vector, const Vector& v) const {
        T* const to = out + static_cast<i64>(vector) * VECTOR;
        if (is_inside(vector)) {
            store_packed<false>(to, v);
            return;
        }
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            if (has(class_of(vector, e))) to[e] = from_float<T>(v[e]);
        }
    }
    DEVICE static Vector pack(const T (&elements)[VECTOR]) {
        Vector v;
#pragma unroll
        for (int w = 0; w < Vector::kWords; ++w) {
            const int e = w * Vector::kPerWord;
            v.set_word(w, to_float(elements[e]), to_float(elements[Vector::kPerWord == 2 ? e + 1 : e]));
        }
        return v;
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
        if (i < row.vectors) row.load(held[h], i);
    }
}

DEVICE void scan_chunk(const Row& row, i32 first, const Vector (&held)[HELD], i32 target, Scan& scan, float& picked) {
    const i32 holder = target < 0 ? -1 : (target + row.shift) / VECTOR;
    float largest = scan.reference;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i32 i = first + h * LANES;
        if (i >= row.vectors) continue;
        float top = held[h][0];
#pragma unroll
        for (int e = 1; e < VECTOR; ++e) top = fmaxf(top, held[h][e]);
        if (i < holder) scan.before = fmaxf(scan.before, top);
        if (i == holder) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float v = held[h][e];
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
        for (int e = 0; e < VECTOR; ++e) sum += exp2_approx((held[h][e] - largest) * kLog2E);
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

// A row's target as it is stored, read by the first of the lanes that share it; nobody waits for it yet.
DEVICE Index read_target(const Row& row, const Index* target) {
    return row.exists() && lane_index() % kShare == 0 ? target[row.index] : static_cast<Index>(IGNORE_INDEX);
}

// The class of it, in all of them.
DEVICE i32 share_target(Index raw, const Row& row) {
    return __shfl_sync(kFullMask, as_class(raw, row.classes), lane_index() / kShare * kShare);
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

// A thread's part of the sum over the classes of weight (x - maximum), which smoothing needs.
DEVICE float smooth_sum(const Row& row, i32 vector, const Vector& v, float reference, const T* weight) {
    float sum = 0.0f;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        const i32 c = row.class_of(vector, e);
        if (row.has(c)) sum += (v[e] - reference) * (WEIGHTED ? to_float(weight[c]) : 1.0f);
    }
    return sum;
}

// The gradient of one vector but for its target's class: p factor - share weight. Zero where the target is ignored (not a product with 0:
// the mean over nothing but ignored targets is NaN, their gradients are 0).
struct alignas(16) RowGradient {
    float reference, factor, share;  // share times scale
    u32 mask;                        // 0 where the target is ignored
    DEVICE float of(float x, float weight) const {
        const float g = exp2_approx((x - reference) * kLog2E) * factor;
        return kSmooth ? g - weight * share : g;
    }
    DEVICE Vector operator()(const Row& row, i32 vector, const Vector& v, const T* weight) const {
        Vector out;
#pragma unroll
        for (int w = 0; w < Vector::kWords; ++w) {
            float g[2];
#pragma unroll
            for (int k = 0; k < Vector::kPerWord; ++k) {
                const int e = w * Vector::kPerWord + k;
                const i32 c = row.class_of(vector, e);
                g[k] = of(v[e], !kSmooth || !row.has(c) ? 0.0f : WEIGHTED ? to_float(weight[c]) : 1.0f);
            }
            out.set_word(w, g[0], g[Vector::kPerWord - 1]);
            out.word[w] &= mask;
        }
        return out;
    }
};

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
