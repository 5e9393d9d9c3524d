// Cross entropy with class indices, forward and backward, in torch's exact form (see CrossEntropy.cs). Logits x [N, classes, length],
// a line being the classes of one (n, place); target one index per line.
//
//   -logp[c] = log_sum - (x[c] - maximum), log_sum = log sum exp(x - maximum): two outputs, whose sum would lose digits
//   loss of a line = (1 - s) w[t] -logp[t] + s / C sum over c of w[c] -logp[c],  s = SMOOTHING
//   ignored targets add 0; an index that is no class makes the loss NaN
//   mean divides by the sum of w[t] over the lines that count (the divisor)
//   dx = (softmax sum(k) - k) dloss / divisor,  k_c being the coefficient of -log softmax_c
//
//   cross_entropy_forward    loss, maximum and log_sum per line, and divisor in one launch: blocks write partial sums, the last adds them in order
//   cross_entropy_backward   dx
//
// Mapping: LANES threads per line: 1 (length > 1: neighbouring threads have neighbouring places), 32 (a warp) or 256 (a block).
// Maximum and sum in one scan over the classes (the sum is rescaled when the maximum grows).
// Bytes per logit (T = bytes of the storage type): forward T, twice with SMOOTHING and beyond what the cache keeps; backward 2 T.
// Arithmetic in f32.
#include "common/grid.cuh"
#include "common/math.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef INDEX_DTYPE
#define INDEX_DTYPE i64
#endif
#ifndef LANES
#define LANES 32
#endif
#ifndef REDUCTION  // 0 mean, 1 sum, 2 none
#define REDUCTION 0
#endif
#ifndef WEIGHTED
#define WEIGHTED 0
#endif
#ifndef SMOOTHING
#define SMOOTHING 0.0f
#endif
#ifndef IGNORE_INDEX
#define IGNORE_INDEX -100
#endif
#define THREADS 256

using namespace gpuengine;

using T = DTYPE;
using Index = INDEX_DTYPE;

static_assert(LANES == 1 || LANES == kWarpSize || LANES == THREADS, "a line is taken by a thread, a warp or a block");

constexpr int kLinesPerBlock = THREADS / LANES;
constexpr bool kSmooth = SMOOTHING != 0.0f;

struct Line {
    const T* logits;
    i64 step;     // from class to class
    bool exists;  // the last block may have fewer lines
    DEVICE Line(const T* x, i64 line, i64 lines, i64 classes, i64 length)
        : logits(x + (line / length * classes * length + line % length)), step(length), exists(line < lines) {}
};

template <class V, class Op>
DEVICE V line_reduce(V value, Op op, V identity) {
    if (LANES == THREADS) return block_reduce(value, op, identity);
    return warp_reduce<(LANES == 1 ? 1 : kWarpSize)>(value, op);
}

// Sum of exp(x - maximum).
struct Exponentials {
    float maximum, sum;
};
DEVICE Exponentials shuffle_xor(Exponentials v, int mask) {
    return Exponentials{gpuengine::shuffle_xor(v.maximum, mask), gpuengine::shuffle_xor(v.sum, mask)};
}
struct MergeExponentials {
    DEVICE Exponentials operator()(const Exponentials& a, const Exponentials& b) const {
        // A NaN must win, and two empty parts must not make one.
        const float maximum = a.maximum != a.maximum || a.maximum > b.maximum ? a.maximum : b.maximum;
        const float from_a = a.sum == 0.0f ? 0.0f : a.sum * expf(a.maximum - maximum);
        const float from_b = b.sum == 0.0f ? 0.0f : b.sum * expf(b.maximum - maximum);
        return Exponentials{maximum, from_a + from_b};
    }
};

// Lines of the tensor are numbered (n, place); every block takes kLinesPerBlock at a time. `partial` holds two floats per block.
extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_forward(
    T* loss, T* maximum, T* log_sum, T* divisor, float* partial, u32* counter, const T* x, const Index* target, const T* weight, i64 lines,
    i64 classes, i64 length) {
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    float losses = 0.0f, weights = 0.0f;
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines; start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 index = start + threadIdx.x / LANES;
        const Line line(x, index, lines, classes, length);
        Exponentials own{-infinity(), 0.0f};
        if (line.exists) {
            for (i64 c = lane; c < classes; c += LANES) {
                const float v = to_float(line.logits[c * line.step]);
                if (v == -infinity()) continue;  // adds nothing, and the difference of two would be NaN
                if (v > own.maximum || v != v) {
                    own.sum = own.sum == 0.0f ? 1.0f : own.sum * expf(own.maximum - v) + 1.0f;
                    own.maximum = v;
                } else {
                    own.sum += expf(v - own.maximum);
                }
            }
        }
        own = line_reduce(own, MergeExponentials(), Exponentials{-infinity(), 0.0f});
        const float line_log_sum = own.sum == 0.0f ? quiet_nan() : logf(own.sum);
        float smooth = 0.0f;
        if (kSmooth) {
            if (line.exists) {
                for (i64 c = lane; c < classes; c += LANES) {
                    const float logp = to_float(line.logits[c * line.step]) - own.maximum - line_log_sum;
                    smooth -= WEIGHTED ? logp * to_float(weight[c]) : logp;
                }
            }
            smooth = line_reduce(smooth, Sum(), 0.0f);
        }
        if (!line.exists || lane != 0) continue;
        const i64 t = target[index];
        const bool ignored = t == IGNORE_INDEX, valid = t >= 0 && t < classes;
        const float w = ignored ? 0.0f : !valid ? quiet_nan() : WEIGHTED ? to_float(weight[t]) : 1.0f;
        // Where a line does not count its logarithm is not looked at: it may be infinite.
        float value = w == 0.0f ? 0.0f : valid ? (line_log_sum - (to_float(line.logits[t * line.step]) - own.maximum)) * w : w;
        if (kSmooth) value = value * (1.0f - SMOOTHING) + (ignored ? 0.0f : smooth * (SMOOTHING / static_cast<float>(classes)));
        maximum[index] = from_float<T>(own.maximum);
        log_sum[index] = from_float<T>(line_log_sum);
        if (REDUCTION == 2) loss[index] = from_float<T>(value);
        losses += value;
        weights += w;
    }
    losses = block_sum(losses);
    weights = block_sum(weights);
    if (threadIdx.x == 0) {
        partial[2 * blockIdx.x] = losses;
        partial[2 * blockIdx.x + 1] = weights;
    }
    if (!is_last_block(counter)) return;
    losses = 0.0f;
    weights = 0.0f;
    for (u32 b = threadIdx.x; b < gridDim.x; b += THREADS) {
        losses += partial[2 * b];
        weights += partial[2 * b + 1];
    }
    losses = block_sum(losses);
    weights = block_sum(weights);
    if (threadIdx.x == 0) {
        divisor[0] = from_float<T>(weights);
        if (REDUCTION != 2) loss[0] = from_float<T>(REDUCTION == 0 ? losses / weights : losses);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_backward(
    T* dx, const T* dloss, const T* x, const Index* target, const T* weight, const T* maximum, const T* log_sum, const T* divisor,
    i64 lines, i64 classes, i64 length) {
    // What the threads of a line share, read and made once.
    struct Shared {
        i64 target;
        float hit, total, maximum, log_sum, scale;
        i32 ignored;
    };
    __shared__ Shared shared[kLinesPerBlock];
    __shared__ float whole;  // dloss, divided for the mean; with REDUCTION none each line has its own
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    const float share = SMOOTHING / static_cast<float>(classes);
    if (REDUCTION != 2 && threadIdx.x == 0) whole = REDUCTION == 0 ? to_float(dloss[0]) / to_float(divisor[0]) : to_float(dloss[0]);
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines; start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 index = start + threadIdx.x / LANES;
        const Line line(x, index, lines, classes, length);
        float class_weights = 0.0f;
        if (kSmooth) {
            class_weights = static_cast<float>(classes);
            if (WEIGHTED) {
                class_weights = 0.0f;
                for (i64 c = lane; c < classes; c += LANES) class_weights += to_float(weight[c]);
                class_weights = line_reduce(class_weights, Sum(), 0.0f);
            }
        }
        __syncthreads();
        if (line.exists && lane == 0) {
            const i64 t = target[index];
            const bool ignored = t == IGNORE_INDEX, valid = t >= 0 && t < classes;
            const float w = ignored || !valid ? 0.0f : WEIGHTED ? to_float(weight[t]) : 1.0f, hit = w * (1.0f - SMOOTHING);
            shared[threadIdx.x / LANES] = Shared{t, hit, hit + share * class_weights, to_float(maximum[index]), to_float(log_sum[index]),
                                                 REDUCTION == 2 ? to_float(dloss[index]) : whole, ignored};
        }
        __syncthreads();
        if (!line.exists) continue;
        const Shared own = shared[threadIdx.x / LANES];
        T* const out = dx + (line.logits - x);
        for (i64 c = lane; c < classes; c += LANES) {
            const float p = expf(to_float(line.logits[c * line.step]) - own.maximum - own.log_sum);
            float k = c == own.target ? own.hit : 0.0f;
            if (kSmooth) k += WEIGHTED ? to_float(weight[c]) * share : share;
            // Not a product with 0: the mean over nothing but ignored targets is NaN, their gradients are 0.
            out[c * line.step] = from_float<T>(own.ignored ? 0.0f : (p * own.total - k) * own.scale);
        }
    }
}
