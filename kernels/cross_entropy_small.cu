// Cross entropy with class indices for few classes: a thread per line, from a tile in shared memory. Formulas and outputs are those
// of cross_entropy.cu, which is for rows of more than 128 bytes or so.
//
//   cross_entropy_small_forward         loss, maximum, log_sum and divisor
//   cross_entropy_small_with_gradient   loss, dx for dloss = 1 (dx may be x) and the number of lines whose first maximum is the target
//   cross_entropy_small_backward        dx from maximum, log_sum and divisor
//
// Layout: x [lines, CLASSES] (PLANES 0) or [N, CLASSES, length] (PLANES 1; a line being the classes of one place).
// Mapping: a tile is THREADS lines, with PLANES of one n. It comes (cp.async) and goes in vectors of VECTOR elements, neighbouring threads
// side by side; in between thread t has line t. Without PLANES threads of a warp begin at different classes of their lines where they would
// meet in one bank else: at most 2-way conflicts.
// Bytes per logit (T = bytes of the storage type): forward T, with gradient 2 T, backward 2 T; targets once while there is one tile per
// block, else twice. The mean's divisor as in cross_entropy.cu: counted before the tile is looked at (cooperative launch).
// Registers: about 40, and CLASSES where these are at most 32 and therefore stay in registers.
// Arithmetic in f32, exponentials by the hardware's instruction; the order of the losses' sum depends on the number of blocks.
#include "common/async_copy.cuh"
#include "common/cross_entropy.cuh"
#include "common/packed.cuh"

#ifndef CLASSES
#define CLASSES 10
#endif
#ifndef PLANES
#define PLANES 0
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef BLOCKS  // at least so many per multiprocessor
#define BLOCKS 4
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using namespace gpuengine;

using T = DTYPE;
using Index = INDEX_DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(THREADS % kWarpSize == 0 && THREADS % VECTOR == 0, "a block is whole warps, a tile whole vectors");

constexpr bool kHeld = CLASSES <= 32;  // a thread's line stays in registers

// How many neighbouring lines lie in one bank, as a power of two: a warp's lines are this many times 32 words long.
constexpr int crowd(int words) { return words % 2 ? 0 : 1 + crowd(words / 2); }
constexpr int kCrowd = PLANES || CLASSES * sizeof(T) % 4 != 0 ? 0 : crowd(static_cast<int>(CLASSES * sizeof(T)) / 4);

// The lines that a block has at a time.
struct Tile {
    i64 first;   // line of the first thread
    i64 offset;  // of its class 0
    i64 step;    // from class to class
    i32 lines;
    DEVICE Tile(i64 tile, i64 all, i64 length) {
        if (PLANES) {
            const i64 tiles = ceil_div(length, static_cast<i64>(THREADS)), n = tile / tiles, place = tile % tiles * THREADS;
            first = n * length + place;
            offset = n * CLASSES * length + place;
            step = length;
            lines = static_cast<i32>(min(static_cast<i64>(THREADS), length - place));
        } else {
            first = tile * THREADS;
            offset = first * CLASSES;
            step = 1;
            lines = static_cast<i32>(min(static_cast<i64>(THREADS), all - first));
        }
    }
    DEVICE bool has_thread() const { return static_cast<i32>(threadIdx.x) < lines; }
    DEVICE i64 line() const { return first + threadIdx.x; }

    // Calls with the position in memory and in the tile of this thread's vectors.
    template <class Move>
    DEVICE void vectors(Move&& move) const {
        constexpr i32 kRun = THREADS / VECTOR;
        const i32 end = PLANES ? CLASSES * kRun : lines * CLASSES / VECTOR;
#pragma unroll 4
        for (i32 i = static_cast<i32>(threadIdx.x); i < end; i += THREADS) {
            const i32 place = i % kRun * VECTOR;
            if (!PLANES) move(offset + i * VECTOR, i * VECTOR);
            if (PLANES && place < lines) move(offset + i / kRun * step + place, i / kRun * THREADS + place);
        }
    }
    // And of the single elements behind the last vector of a tile that is not full.
    template <class Move>
    DEVICE void rest(Move&& move) const {
        if (PLANES) return;
        for (i32 i = lines * CLASSES / VECTOR * VECTOR + static_cast<i32>(threadIdx.x); i < lines * CLASSES; i += THREADS) move(offset + i, i);
    }
};

// Starts to copy the tile; a thread waits for what it copied, a block with a barrier after that for all.
DEVICE void fetch(const Tile& tile, T* shared, const T* x) {
    tile.vectors([&](i64 from, i32 to) { async_copy<VECTOR>(shared + to, x + from); });
    tile.rest([&](i64 from, i32 to) { async_copy<1>(shared + to, x + from); });
    async_commit();
}

DEVICE void arrive() {
    async_wait<0>();
    __syncthreads();
}

DEVICE void put_back(const Tile& tile, const T* shared, T* dx) {
    tile.vectors([&](i64 to, i32 from) {
        Packed<T, VECTOR> v;
        load_packed<false>(v, shared + from);
        store_packed<false>(dx + to, v);
    });
    tile.rest([&](i64 to, i32 from) { dx[to] = shared[from]; });
}

// A thread's line in the tile. Its classes are visited from `start` on, around the end.
struct Line {
    T* logits;
    i32 start;
    DEVICE explicit Line(T* shared) {
        logits = shared + (PLANES ? threadIdx.x : threadIdx.x * CLASSES);
        start = static_cast<i32>(threadIdx.x % kWarpSize << kCrowd >> 5) % CLASSES;
    }
    DEVICE i32 class_of(i32 k) const { return kCrowd == 0 || k + start < CLASSES ? k + start : k + start - CLASSES; }
    DEVICE T& at(i32 c) const { return logits[PLANES ? c * THREADS : c]; }
};

struct Values {
    float held[kHeld ? CLASSES : 1];
    DEVICE explicit Values(const Line& line) {
#pragma unroll
        for (i32 k = 0; kHeld && k < CLASSES; ++k) held[k] = to_float(line.at(line.class_of(k)));
    }
    DEVICE float operator()(const Line& line, i32 k) const { return kHeld ? held[kHeld ? k : 0] : to_float(line.at(line.class_of(k))); }
};

// What is found in a line, as in cross_entropy.cu.
struct Scan {
    float reference, sum, before, picked;
    DEVICE Scan(const Line& line, const Values& values, i32 target) {
        reference = -kMaxFloat;
        before = -infinity();
        picked = 0.0f;
#pragma unroll
        for (i32 k = 0; k < CLASSES; ++k) {
            const float v = values(line, k);
            const i32 c = line.class_of(k);
            reference = fmaxf(reference, v);
            if (c < target) before = fmaxf(before, v);
            if (c == target) picked = v;  // not line.at(target), for which threads would meet in one bank
        }
        sum = 0.0f;
#pragma unroll
        for (i32 k = 0; k < CLASSES; ++k) sum += exp2_approx((values(line, k) - reference) * kLog2E);
    }
};

// The sum over the classes of weight -log softmax.
DEVICE float smooth_sum(const Line& line, const Values& values, float reference, float logarithm, const T* weight) {
    float sum = 0.0f;
    for (i32 k = 0; kSmooth && k < CLASSES; ++k)
        sum += (reference - values(line, k) + logarithm) * (WEIGHTED ? to_float(weight[line.class_of(k)]) : 1.0f);
    return sum;
}

// Over the logits. `sum` is that of the exponentials, `scale` what the gradient is multiplied by.
DEVICE void write_gradient(const Line& line, const Values& values, float reference, float sum, float scale, i32 t, float w, float share,
                           float class_weights, const T* weight) {
    const Coefficients k(t, w, share, class_weights);
    const float factor = k.total * scale / sum;
#pragma unroll
    for (i32 i = 0; i < CLASSES; ++i) {
        const i32 c = line.class_of(i);
        float g = exp2_approx((values(line, i) - reference) * kLog2E) * factor;
        if (kSmooth) g -= (WEIGHTED ? to_float(weight[c]) * share : share) * scale;
        if (c == t) g -= k.hit * scale;
        line.at(c) = from_float<T>(t == kIgnored ? 0.0f : g);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_small_forward(
    T* loss, T* maximum, T* log_sum, T* divisor, float* partial, u32* counters, const T* x, const Index* target, const T* weight, i64 tiles,
    i64 lines, i64 length) {
    DYNAMIC_SHARED(T, shared);
    float losses = 0.0f, weights = 0.0f;
    for (i64 at = blockIdx.x; at < tiles; at += gridDim.x) {
        const Tile tile(at, lines, length);
        fetch(tile, shared, x);
        const i32 t = tile.has_thread() ? read_class(target, tile.line(), CLASSES) : kIgnored;
        arrive();
        if (tile.has_thread()) {
            const Line line(shared);
            const Values values(line);
            const Scan scan(line, values, t);
            const float w = class_weight(t, weight), logarithm = log_of_sum(scan.sum);
            const float value = line_loss(t, w, scan.reference - scan.picked, logarithm, smooth_sum(line, values, scan.reference, logarithm, weight), CLASSES);
            maximum[tile.line()] = from_float<T>(scan.reference);
            log_sum[tile.line()] = from_float<T>(logarithm);
            if (REDUCTION == 2) loss[tile.line()] = from_float<T>(value);
            losses += value;
            weights += w;
        }
        __syncthreads();
    }
    i32 correct = 0;
    if (!grid_totals(losses, weights, correct, partial, &reinterpret_cast<LossCounters*>(counters)->last)) return;
    divisor[0] = from_float<T>(weights);
    if (REDUCTION != 2) loss[0] = from_float<T>(REDUCTION == 0 ? losses / weights : losses);
}

// `partial`: four words per block.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_small_with_gradient(
    float* loss, T* dx, i64* correct, float* partial, u32* counters, const T* x, const Index* target, const T* weight, i64 tiles, i64 lines,
    i64 length) {
    DYNAMIC_SHARED(T, shared);
    LossCounters* const counter = reinterpret_cast<LossCounters*>(counters);
    i32 first = kIgnored;
    float divisor = 1.0f;
    {
        const Tile tile(blockIdx.x, lines, length);
        fetch(tile, shared, x);
        if (tile.has_thread()) first = read_class(target, tile.line(), CLASSES);
    }
    if (REDUCTION == 0) {
        float weights = WEIGHTED ? class_weight(first, weight) : 0.0f;
        i32 targets = first != kIgnored;
        bool invalid = first == kInvalid;
        for (i64 at = blockIdx.x + gridDim.x; at < tiles; at += gridDim.x) {
            const Tile tile(at, lines, length);
            if (!tile.has_thread()) continue;
            const i32 t = read_class(target, tile.line(), CLASSES);
            if (WEIGHTED) weights += class_weight(t, weight);
            targets += t != kIgnored;
            invalid |= t == kInvalid;
        }
        divisor = grid_divisor(targets, weights, invalid, partial + 3 * gridDim.x, counter);
    }
    const float class_weights = sum_of_class_weights(weight, CLASSES), scale = 1.0f / divisor;
    float losses = 0.0f;
    i32 right = 0;
    for (i64 at = blockIdx.x; at < tiles; at += gridDim.x) {
        const Tile tile(at, lines, length);
        i32 t = first;
        if (at != blockIdx.x) {
            fetch(tile, shared, x);
            t = tile.has_thread() ? read_class(target, tile.line(), CLASSES) : kIgnored;
        }
        arrive();
        if (tile.has_thread()) {
            const Line line(shared);
            const Values values(line);
            const Scan scan(line, values, t);
            const float w = class_weight(t, weight), logarithm = log_of_sum(scan.sum);
            const float smooth = smooth_sum(line, values, scan.reference, logarithm, weight);
            losses += line_loss(t, w, scan.reference - scan.picked, logarithm, smooth, CLASSES);
            right += t >= 0 && scan.picked == scan.reference && scan.before < scan.picked && scan.sum > 0.0f;
            write_gradient(line, values, scan.reference, scan.sum, scale, t, w, SMOOTHING / CLASSES, class_weights, weight);
        }
        __syncthreads();
        put_back(tile, shared, dx);
        if (at + gridDim.x < tiles) __syncthreads();
    }
    float unused = 0.0f;
    if (!grid_totals(losses, unused, right, partial, &counter->last)) return;
    loss[0] = REDUCTION == 0 ? losses / divisor : losses;
    correct[0] = right;
    counter->targets = 0;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) cross_entropy_small_backward(
    T* dx, const T* dloss, const T* x, const Index* target, const T* weight, const T* maximum, const T* log_sum, const T* divisor,
    i64 tiles, i64 lines, i64 length) {
    DYNAMIC_SHARED(T, shared);
    __shared__ float whole;  // dloss, divided for the mean; with REDUCTION none each line has its own
    if (REDUCTION != 2 && threadIdx.x == 0) whole = REDUCTION == 0 ? to_float(dloss[0]) / to_float(divisor[0]) : to_float(dloss[0]);
    const float class_weights = sum_of_class_weights(weight, CLASSES);
    for (i64 at = blockIdx.x; at < tiles; at += gridDim.x) {
        const Tile tile(at, lines, length);
        fetch(tile, shared, x);
        i32 t = kIgnored;
        float reference = 0.0f, logarithm = 0.0f, scale = 0.0f;
        if (tile.has_thread()) {
            t = read_class(target, tile.line(), CLASSES);
            reference = to_float(maximum[tile.line()]);
            logarithm = to_float(log_sum[tile.line()]);
            if (REDUCTION == 2) scale = to_float(dloss[tile.line()]);
        }
        arrive();
        if (tile.has_thread()) {
            const Line line(shared);
            if (REDUCTION != 2) scale = whole;
            write_gradient(line, Values(line), reference, expf(logarithm), scale, t, t < 0 ? 0.0f : class_weight(t, weight), SMOOTHING / CLASSES,
                           class_weights, weight);
        }
        __syncthreads();
        put_back(tile, shared, dx);
        if (at + gridDim.x < tiles) __syncthreads();
    }
}
