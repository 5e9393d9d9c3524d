// softmax and log_softmax along one axis, forward and backward: x, y [outer, classes, length], a line being the classes of one
// (outer, place).
//
//   y = exp(x - max) / sum exp(x - max),        dx = y (dy - sum of dy y)
//   LOG: y = x - max - log sum exp(x - max),    dx = dy - exp(y) sum of dy
//
//   softmax_..._naive    any shape, lines read twice: maximum and sum in one scan (the sum is rescaled when the maximum grows), a
//                        second scan writes; LANES threads per line: 1 (length > 1), 32 or THREADS; also the second oracle
//   softmax_..._rows     length 1: a row in the registers of LANES threads (up to a warp, or the block), HELD vectors each
//   softmax_..._places   length > 1: HELD = classes vectors of VECTOR neighbouring places in the registers of one thread
//
// Bytes per element (T = bytes of the storage type): 2 T forward, 3 T backward; naive 3 T and 5 T. Live registers: HELD vectors (4
// each at 16 bytes; backward of two tensors) and about 24: the launcher keeps HELD within 88 of 256 threads, 60 of 1024.
// Arithmetic in f32; bf16 computes exp a second time rather than keep it. Sums in the thread, then over the line by a tree: the
// order depends on the shape alone. x and y, dy and dx may be one tensor: a line is read before it is written.
#include "common/math.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef VECTOR
#define VECTOR 1
#endif
#ifndef LANES
#define LANES 32
#endif
#ifndef HELD
#define HELD 1
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef LOG
#define LOG 0
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(LANES == THREADS || (LANES <= kWarpSize && (LANES & (LANES - 1)) == 0),
              "a line is taken by a part of a warp or the block");

constexpr int kLinesPerBlock = THREADS / LANES;

template <class V, class Op>
DEVICE V line_reduce(V value, Op op, V identity) {
    if (LANES == THREADS) return block_reduce(value, op, identity);
    return warp_reduce<(LANES < kWarpSize ? LANES : kWarpSize)>(value, op);
}

// NaN wins, so that a line with one becomes NaN.
struct MaxOrNan {
    DEVICE float operator()(float a, float b) const { return a != a || a > b ? a : b; }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_forward_naive(T* y, const T* x, i64 lines, i64 classes, i64 length) {
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines;
         start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
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

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_backward_naive(T* dx, const T* dy, const T* y, i64 lines, i64 classes, i64 length) {
    const int lane = static_cast<int>(threadIdx.x) % LANES;
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < lines;
         start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
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

// exp(v - maximum); what a line does not have is minus infinity and adds nothing.
struct Shifted {
    float maximum;
    DEVICE float operator()(float v) const { return expf(v - maximum); }
};

// What of a row a thread has: vector h of it is number h * LANES + lane of the row.
DEVICE int held_element(int h) { return (h * LANES + static_cast<int>(threadIdx.x) % LANES) * VECTOR; }

extern "C" __global__ void __launch_bounds__(THREADS) softmax_forward_rows(T* y, const T* x, i64 rows, i64 classes) {
    const int width = static_cast<int>(classes);
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < rows;
         start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 row = start + threadIdx.x / LANES;
        const bool exists = row < rows;
        const T* const from = x + row * classes;
        Vec<T, VECTOR> held[HELD];
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (exists && held_element(h) < width) {
                held[h] = load<VECTOR>(from + held_element(h));
            } else {
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) held[h][e] = from_float<T>(-infinity());
            }
        }
        float maximum = -infinity();
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) maximum = MaxOrNan()(to_float(held[h][e]), maximum);
        }
        const Shifted shifted{line_reduce(maximum, MaxOrNan(), -infinity())};
        float sum = 0.0f;
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (held_element(h) >= width) continue;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float power = shifted(to_float(held[h][e]));
                sum += power;
                if (!LOG && is_same<T, float>::value) held[h][e] = from_float<T>(power);
            }
        }
        sum = line_reduce(sum, Sum(), 0.0f);
        const float scale = LOG ? logf(sum) : 1.0f / sum;
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (!exists || held_element(h) >= width) continue;
            Vec<float, VECTOR> v;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float a = to_float(held[h][e]);
                v[e] = LOG ? a - shifted.maximum - scale : (is_same<T, float>::value ? a : shifted(a)) * scale;
            }
            store(y + row * classes + held_element(h), from_float<T>(v));
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_backward_rows(T* dx, const T* dy, const T* y, i64 rows, i64 classes) {
    const int width = static_cast<int>(classes);
    for (i64 start = static_cast<i64>(blockIdx.x) * kLinesPerBlock; start < rows;
         start += static_cast<i64>(gridDim.x) * kLinesPerBlock) {
        const i64 row = start + threadIdx.x / LANES;
        const bool exists = row < rows;
        Vec<T, VECTOR> g[HELD], v[HELD];
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (!exists || held_element(h) >= width) continue;
            g[h] = load<VECTOR>(dy + row * classes + held_element(h));
            v[h] = load<VECTOR>(y + row * classes + held_element(h));
        }
        float sum = 0.0f;
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (!exists || held_element(h) >= width) continue;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) sum += LOG ? to_float(g[h][e]) : to_float(g[h][e]) * to_float(v[h][e]);
        }
        sum = line_reduce(sum, Sum(), 0.0f);
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (!exists || held_element(h) >= width) continue;
            Vec<float, VECTOR> d;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float a = to_float(g[h][e]), b = to_float(v[h][e]);
                d[e] = LOG ? a - expf(b) * sum : b * (a - sum);
            }
            store(dx + row * classes + held_element(h), from_float<T>(d));
        }
    }
}

// Where vector i of the places lies in its first class.
DEVICE i64 first_class(i64 i, i64 length) {
    const i64 place = i * VECTOR;
    return place / length * length * HELD + place % length;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_forward_places(T* y, const T* x, i64 vectors, i64 length) {
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        const i64 first = first_class(i, length);
        Vec<T, VECTOR> held[HELD];
#pragma unroll
        for (int c = 0; c < HELD; ++c) held[c] = load<VECTOR>(x + first + c * length);
        float maximum[VECTOR], scale[VECTOR];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            maximum[e] = -infinity();
#pragma unroll
            for (int c = 0; c < HELD; ++c) maximum[e] = MaxOrNan()(to_float(held[c][e]), maximum[e]);
            const Shifted shifted{maximum[e]};
            float sum = 0.0f;
#pragma unroll
            for (int c = 0; c < HELD; ++c) sum += shifted(to_float(held[c][e]));
            scale[e] = LOG ? logf(sum) : 1.0f / sum;
        }
#pragma unroll
        for (int c = 0; c < HELD; ++c) {
            Vec<float, VECTOR> v;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float a = to_float(held[c][e]);
                v[e] = LOG ? a - maximum[e] - scale[e] : expf(a - maximum[e]) * scale[e];
            }
            store(y + first + c * length, from_float<T>(v));
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_backward_places(T* dx, const T* dy, const T* y, i64 vectors, i64 length) {
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        const i64 first = first_class(i, length);
        Vec<T, VECTOR> g[HELD], v[HELD];
#pragma unroll
        for (int c = 0; c < HELD; ++c) {
            g[c] = load<VECTOR>(dy + first + c * length);
            v[c] = load<VECTOR>(y + first + c * length);
        }
        float sum[VECTOR];
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            sum[e] = 0.0f;
#pragma unroll
            for (int c = 0; c < HELD; ++c) sum[e] += LOG ? to_float(g[c][e]) : to_float(g[c][e]) * to_float(v[c][e]);
        }
#pragma unroll
        for (int c = 0; c < HELD; ++c) {
            Vec<float, VECTOR> d;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const float a = to_float(g[c][e]), b = to_float(v[c][e]);
                d[e] = LOG ? a - expf(b) * sum[e] : b * (a - sum[e]);
            }
            store(dx + first + c * length, from_float<T>(d));
        }
    }
}
