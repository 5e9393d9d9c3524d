// Cross entropy with class indices over x [N, classes, length], a line being the classes of one (n, place): the plain form of
// cross_entropy.cu, any shape, two launches for loss and gradient. The second oracle and the baseline of the other files.
//
//   cross_entropy_naive_forward    loss, maximum, log_sum, divisor and, if asked, the number of lines whose first maximum is the target
//   cross_entropy_naive_backward   dx
//
// Mapping: LANES threads per line: 1 (length > 1: neighbouring threads have neighbouring places), 32 (a warp) or 256 (a block); one
// element per access. Maximum and sum in one scan over the classes (the sum is rescaled when the maximum grows).
// Bytes per logit (T = bytes of the storage type): forward T, twice with SMOOTHING; backward 2 T. Arithmetic in f32, exact functions.
#include "common/cross_entropy.cuh"

#ifndef LANES
#define LANES 32
#endif
#ifndef LOSS_DTYPE
#define LOSS_DTYPE DTYPE
#endif
#define THREADS 256

using namespace gpuengine;

using T = DTYPE;
using L = LOSS_DTYPE;
using Index = INDEX_DTYPE;

static_assert(LANES == 1 || LANES == kWarpSize || LANES == THREADS, "a line is taken by a thread, a warp or a block");

constexpr int kLinesPerBlock = THREADS / LANES;

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

// Lines of the tensor are numbered (n, place); every block takes kLinesPerBlock at a time. `partial` holds three words per block.
extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_naive_forward(
    L* loss, T* maximum, T* log_sum, T* divisor, i64* correct, float* partial, u32* counters, const T* x, const Index* target,
    const T* weight, i64 lines, i64 classes, i64 length) {
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    float losses = 0.0f, weights = 0.0f;
    i32 right = 0;
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines; start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 index = start + threadIdx.x / LANES;
        const Line line(x, index, lines, classes, length);
        Exponentials own{-infinity(), 0.0f};
        i32 first = 0x7fffffff;  // where the maximum is first met
        if (line.exists) {
            for (i64 c = lane; c < classes; c += LANES) {
                const float v = to_float(line.logits[c * line.step]);
                if (v == -infinity()) continue;  // adds nothing, and the difference of two would be NaN
                if (v > own.maximum || v != v) {
                    own.sum = own.sum == 0.0f ? 1.0f : own.sum * expf(own.maximum - v) + 1.0f;
                    own.maximum = v;
                    first = static_cast<i32>(c);
                } else {
                    own.sum += expf(v - own.maximum);
                }
            }
        }
        const float lane_maximum = own.maximum;
        own = line_reduce(own, MergeExponentials(), Exponentials{-infinity(), 0.0f});
        first = line_reduce(lane_maximum == own.maximum ? first : 0x7fffffff, Min(), 0x7fffffff);
        const float line_log_sum = log_of_sum(own.sum);
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
        const i32 t = read_class(target, index, classes);
        const float w = class_weight(t, weight), below = t >= 0 ? own.maximum - to_float(line.logits[t * line.step]) : 0.0f;
        const float value = line_loss(t, w, below, line_log_sum, smooth, classes);
        maximum[index] = from_float<T>(own.maximum);
        log_sum[index] = from_float<T>(line_log_sum);
        if (REDUCTION == 2) loss[index] = from_float<L>(value);
        losses += value;
        weights += w;
        right += t == first && own.sum > 0.0f;
    }
    if (!grid_totals(losses, weights, right, partial, &reinterpret_cast<LossCounters*>(counters)->last)) return;
    divisor[0] = from_float<T>(weights);
    if (REDUCTION != 2) loss[0] = from_float<L>(REDUCTION == 0 ? losses / weights : losses);
    if (correct != nullptr) correct[0] = right;
}

// Without dloss it is 1.
extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_naive_backward(
    T* dx, const T* dloss, const T* x, const Index* target, const T* weight, const T* maximum, const T* log_sum, const T* divisor,
    i64 lines, i64 classes, i64 length) {
    // What the threads of a line share, read and made once.
    struct Shared {
        float hit, total, maximum, log_sum, scale;
        i32 target;
    };
    __shared__ Shared shared[kLinesPerBlock];
    __shared__ float whole;  // dloss, divided for the mean; with REDUCTION none each line has its own
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    const float share = SMOOTHING / static_cast<float>(classes), class_weights = sum_of_class_weights(weight, classes);
    if (REDUCTION != 2 && threadIdx.x == 0) {
        const float g = dloss == nullptr ? 1.0f : to_float(dloss[0]);
        whole = REDUCTION == 0 ? g / to_float(divisor[0]) : g;
    }
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines; start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 index = start + threadIdx.x / LANES;
        const Line line(x, index, lines, classes, length);
        __syncthreads();
        if (line.exists && lane == 0) {
            const i32 t = read_class(target, index, classes);
            const Coefficients k(t, t < 0 ? 0.0f : class_weight(t, weight), share, class_weights);
            shared[threadIdx.x / LANES] = Shared{k.hit, k.total, to_float(maximum[index]), to_float(log_sum[index]),
                                                 REDUCTION == 2 ? to_float(dloss[index]) : whole, t};
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
            out[c * line.step] = from_float<T>(own.target == kIgnored ? 0.0f : (p * own.total - k) * own.scale);
        }
    }
}
