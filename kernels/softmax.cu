// softmax and log_softmax along one axis, forward and backward: x, y [outer, classes, length], a line being the classes of one
// (outer, place).
//
//   y = exp(x - max) / sum exp(x - max),        dx = y (dy - sum of dy y)
//   LOG: y = x - max - log sum exp(x - max),    dx = dy - exp(y) sum of dy
//
// Mapping: LANES threads per line: 1 (length > 1: neighbouring threads have neighbouring places), 32 (a warp) or 256 (a block).
// Maximum and sum in one scan (the sum is rescaled when the maximum grows), then a second scan writes.
// Bytes per element (T = bytes of the storage type): 3 T forward, 5 T backward, of which the cache serves one T (two T) where it
// keeps a block's lines. Arithmetic in f32, sums in a fixed order.
#include "common/math.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef LANES
#define LANES 32
#endif
#ifndef LOG
#define LOG 0
#endif
#define THREADS 256

using namespace gpuengine;

using T = DTYPE;

static_assert(LANES == 1 || LANES == kWarpSize || LANES == THREADS, "a line is taken by a thread, a warp or a block");

constexpr int kLinesPerBlock = THREADS / LANES;

template <class V, class Op>
DEVICE V line_reduce(V value, Op op, V identity) {
    if (LANES == THREADS) return block_reduce(value, op, identity);
    return warp_reduce<(LANES == 1 ? 1 : kWarpSize)>(value, op);
}

// NaN wins, so that a line with one becomes NaN.
struct MaxOrNan {
    DEVICE float operator()(float a, float b) const { return a != a || a > b ? a : b; }
};

extern "C" __global__ void __launch_bounds__(THREADS) softmax_forward(T* y, const T* x, i64 lines, i64 classes, i64 length) {
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines; start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 line = start + threadIdx.x / LANES, first = line / length * classes * length + line % length;
        const bool exists = line < lines;
        float maximum = -infinity(), sum = 0.0f;
        if (exists) {
            for (i64 c = lane; c < classes; c += LANES) {
                const float v = to_float(x[first + c * length]);
                if (v == -infinity()) continue;  // adds nothing, and the difference of two would be NaN
                if (v > maximum || v != v) {
                    sum = sum == 0.0f ? 1.0f : sum * expf(maximum - v) + 1.0f;
                    maximum = v;
                } else {
                    sum += expf(v - maximum);
                }
            }
        }
        const float all = line_reduce(maximum, MaxOrNan(), -infinity());
        sum = line_reduce(sum == 0.0f ? 0.0f : sum * expf(maximum - all), Sum(), 0.0f);
        if (!exists) continue;
        const float scale = LOG ? logf(sum) : 1.0f / sum;
        for (i64 c = lane; c < classes; c += LANES) {
            const float shifted = to_float(x[first + c * length]) - all;
            y[first + c * length] = from_float<T>(LOG ? shifted - scale : expf(shifted) * scale);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) softmax_backward(T* dx, const T* dy, const T* y, i64 lines, i64 classes, i64 length) {
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines; start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 line = start + threadIdx.x / LANES, first = line / length * classes * length + line % length;
        const bool exists = line < lines;
        float sum = 0.0f;
        if (exists) {
            for (i64 c = lane; c < classes; c += LANES) {
                const i64 i = first + c * length;
                sum += LOG ? to_float(dy[i]) : to_float(dy[i]) * to_float(y[i]);
            }
        }
        sum = line_reduce(sum, Sum(), 0.0f);
        if (!exists) continue;
        for (i64 c = lane; c < classes; c += LANES) {
            const i64 i = first + c * length;
            const float g = to_float(dy[i]), v = to_float(y[i]);
            dx[i] = from_float<T>(LOG ? g - expf(v) * sum : v * (g - sum));
        }
    }
}
