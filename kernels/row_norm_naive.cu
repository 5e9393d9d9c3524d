// Normalisation of rows of any length, one kernel per result: the second oracle of row_norm.cu and row_norm_backward.cu, and what runs
// where rows are too long for them. layer_norm, group_norm, instance_norm and (CENTRED 0) rms_norm. x is [rows, units, inner]; element
// (r, u, i) has parameter p = (r mod groups) units + u.
//
//   y = activation((x - mean) invstd weight[p] + bias[p]),  invstd = 1 / sqrt(mean of (x - mean)^2 + eps) over the row
//   dz = dy activation'(z), g = dz weight[p]:  dx = invstd (g - mean(g) - xhat mean(g xhat)), without mean(g) if not CENTRED
//   dweight[p] = sum of dz xhat, dbias[p] = sum of dz over the rows and places that have parameter p
//
//   row_norm_naive_forward      LANES threads per row; the last HELD vectors of each thread stay in registers: x is read once where a
//                               row has at most LANES HELD vectors, else twice
//   row_norm_naive_backward     dx likewise
//   row_norm_naive_parameters   a block per 32 neighbouring parameters, its warps side by side on the batch; or per parameter and warp
//
// Bytes per element (T = bytes of the storage type): forward 2 T, backward 3 T, parameters 2 T, and weight and bias once per row.
// Statistics and sums in f32: two passes over HELD vectors at a time from registers, merged by Chan's formula, in a fixed order.
#include "common/activations.cuh"
#include "common/moments.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef LANES
#define LANES 32
#endif
#ifndef HELD
#define HELD 4
#endif
#ifndef VECTOR  // elements of a row that one access takes
#define VECTOR 4
#endif
#ifndef INNER_IS_1  // every element of a row has a parameter of its own
#define INNER_IS_1 1
#endif
#ifndef CENTRED
#define CENTRED 1
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef EPS
#define EPS 1e-5f
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(LANES == kWarpSize || LANES == THREADS, "a row is taken by a warp or a block");

using Row = Vec<T, VECTOR>;
constexpr int kRowsPerBlock = THREADS / LANES;

template <class V, class Op>
DEVICE V row_reduce(V value, Op op, V identity) {
    return LANES == THREADS ? block_reduce(value, op, identity) : warp_reduce(value, op);
}

// The parameters of VECTOR neighbouring elements; at is the first one's place in its row.
struct Parameters {
    Vec<float, VECTOR> weight, bias;
    DEVICE Parameters(const P* w, const P* b, i64 first, i64 at, i64 inner, bool with_bias) {
        if (!AFFINE) return;
        if (INNER_IS_1) {
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) weight[e] = to_float(w[first + at + e]);
            if (CENTRED && with_bias) {
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) bias[e] = to_float(b[first + at + e]);
            }
            return;
        }
        // VECTOR divides inner: one parameter for all.
        const i64 p = first + at / inner;
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            weight[e] = to_float(w[p]);
            bias[e] = CENTRED && with_bias ? to_float(b[p]) : 0.0f;
        }
    }
    DEVICE float transform(float xhat, int e) const {
        if (!AFFINE) return xhat;
        return CENTRED ? xhat * weight[e] + bias[e] : xhat * weight[e];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) row_norm_naive_forward(
    T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 rows, i64 groups, i64 units, i64 inner) {
    const i64 length = units * inner, vectors = length / VECTOR, lane = threadIdx.x % LANES;
    constexpr i64 chunk = static_cast<i64>(HELD) * LANES;
    for (i64 start = static_cast<i64>(blockIdx.x) * kRowsPerBlock; start < rows; start += static_cast<i64>(gridDim.x) * kRowsPerBlock) {
        const i64 row = start + threadIdx.x / LANES;
        const bool exists = row < rows;
        const T* const from = x + row * length;
        Row held[HELD];
        Moments<> m = Moments<>::empty();
        const i64 last = (vectors - 1) / chunk * chunk;
        for (i64 begin = 0; exists && begin < vectors; begin += chunk) {
            float sum = 0.0f, squares = 0.0f, count = 0.0f;
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i64 v = begin + lane + h * LANES;
                if (v >= vectors) continue;
                held[h] = load<VECTOR>(from + v * VECTOR);
                count += VECTOR;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) sum += to_float(held[h][e]);
            }
            if (count == 0.0f) continue;
            const float middle = CENTRED ? sum / count : 0.0f;
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                if (begin + lane + h * LANES >= vectors) continue;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) {
                    const float d = to_float(held[h][e]) - middle;
                    squares += d * d;
                }
            }
            // Not centred, every mean is 0 and the merge adds the squares.
            m = merge(m, Moments<>{count, middle, squares});
        }
        m = row_reduce(m, Merge(), Moments<>::empty());
        if (!exists) continue;
        const float scale = 1.0f / sqrtf(m.variance() + EPS);
        if (lane == 0) {
            if (CENTRED) mean[row] = m.mean;
            invstd[row] = scale;
        }
        const i64 first = row % groups * units;
        T* const to = y + row * length;
        const auto write = [&](const Row& in, i64 v) {
            const Parameters p(weight, bias, first, v * VECTOR, inner, true);
            Row out;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e)
                out[e] = from_float<T>(CompiledActivation::forward(p.transform((to_float(in[e]) - m.mean) * scale, e)));
            store(to + v * VECTOR, out);
        };
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i64 v = last + lane + h * LANES;
            if (v < vectors) write(held[h], v);
        }
        for (i64 v = lane; v < last; v += LANES) write(load<VECTOR>(from + v * VECTOR), v);
    }
}

// What the gradients of one element need.
struct Element {
    float xhat, dz;
};

DEVICE Element element(float dy, float x, float mean, float invstd, float z_weight, float z_bias) {
    const float xhat = (x - mean) * invstd;
    if (!kHasActivation) return Element{xhat, dy};
    const float z = !AFFINE ? xhat : CENTRED ? xhat * z_weight + z_bias : xhat * z_weight;
    return Element{xhat, dy * CompiledActivation::derivative(z)};
}

extern "C" __global__ void __launch_bounds__(THREADS) row_norm_naive_backward(
    T* dx, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, i64 rows, i64 groups, i64 units,
    i64 inner) {
    const i64 length = units * inner, vectors = length / VECTOR, lane = threadIdx.x % LANES;
    constexpr i64 chunk = static_cast<i64>(HELD) * LANES;
    for (i64 start = static_cast<i64>(blockIdx.x) * kRowsPerBlock; start < rows; start += static_cast<i64>(gridDim.x) * kRowsPerBlock) {
        const i64 row = start + threadIdx.x / LANES;
        const bool exists = row < rows;
        const T *const dys = dy + row * length, *const xs = x + row * length;
        const float middle = exists && CENTRED ? mean[row] : 0.0f, scale = exists ? invstd[row] : 0.0f;
        const i64 first = row % groups * units, last = (vectors - 1) / chunk * chunk;
        Row held_dy[HELD], held_x[HELD];
        float sum = 0.0f, sum_xhat = 0.0f;
        const auto visit = [&](const Row& g, const Row& v, i64 at, auto use) {
            const Parameters p(weight, bias, first, at * VECTOR, inner, kHasActivation);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                const Element d = element(to_float(g[e]), to_float(v[e]), middle, scale, p.weight[e], p.bias[e]);
                use(e, AFFINE ? d.dz * p.weight[e] : d.dz, d.xhat);
            }
        };
        for (i64 begin = 0; exists && begin < vectors; begin += chunk) {
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i64 v = begin + lane + h * LANES;
                if (v >= vectors) continue;
                held_dy[h] = load<VECTOR>(dys + v * VECTOR);
                held_x[h] = load<VECTOR>(xs + v * VECTOR);
            }
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i64 v = begin + lane + h * LANES;
                if (v >= vectors) continue;
                visit(held_dy[h], held_x[h], v, [&](int, float g, float xhat) {
                    sum += g;
                    sum_xhat += g * xhat;
                });
            }
        }
        sum = row_reduce(sum, Sum(), 0.0f);
        sum_xhat = row_reduce(sum_xhat, Sum(), 0.0f);
        if (!exists) continue;
        const float share = 1.0f / static_cast<float>(length);
        const float mean_g = CENTRED ? sum * share : 0.0f, mean_g_xhat = sum_xhat * share;
        T* const to = dx + row * length;
        const auto write = [&](const Row& g, const Row& in, i64 v) {
            Row out;
            visit(g, in, v, [&](int e, float d, float xhat) { out[e] = from_float<T>((d - xhat * mean_g_xhat - mean_g) * scale); });
            store(to + v * VECTOR, out);
        };
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i64 v = last + lane + h * LANES;
            if (v < vectors) write(held_dy[h], held_x[h], v);
        }
        for (i64 v = lane; v < last; v += LANES) write(load<VECTOR>(dys + v * VECTOR), load<VECTOR>(xs + v * VECTOR), v);
    }
}

// parameters / kWarpSize blocks. With INNER_IS_1 lane l has parameter l of the block's 32 and every warp its share of the rows; else the
// warps take the parameters in turn and the lanes the places.
extern "C" __global__ void __launch_bounds__(THREADS) row_norm_naive_parameters(
    float* dweight, float* dbias, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias,
    i64 batch, i64 groups, i64 units, i64 inner) {
    __shared__ float partial[2][THREADS / kWarpSize][kWarpSize];
    const int lane = lane_index(), warp = warp_index();
    constexpr int warps = THREADS / kWarpSize;
    const i64 parameters = groups * units, first = static_cast<i64>(blockIdx.x) * kWarpSize;
    const auto add = [&](i64 p, i64 n, i64 i, float& dz, float& dz_xhat) {
        const i64 row = n * groups + p / units, at = (n * parameters + p) * inner + i;
        const Element d = element(to_float(dy[at]), to_float(x[at]), CENTRED ? mean[row] : 0.0f, invstd[row], kHasActivation ? to_float(weight[p]) : 0.0f,
                                  kHasActivation && CENTRED ? to_float(bias[p]) : 0.0f);
        dz += d.dz;
        dz_xhat += d.dz * d.xhat;
    };
    for (int c = INNER_IS_1 ? 0 : warp; c < (INNER_IS_1 ? 1 : kWarpSize); c += warps) {
        const i64 p = first + (INNER_IS_1 ? lane : c);
        float dz = 0.0f, dz_xhat = 0.0f;
        if (INNER_IS_1) {
            for (i64 n = warp; p < parameters && n < batch; n += warps) add(p, n, 0, dz, dz_xhat);
            partial[0][warp][lane] = dz;
            partial[1][warp][lane] = dz_xhat;
            __syncthreads();
            dz = dz_xhat = 0.0f;
            for (int w = 0; w < warps; ++w) {
                dz += partial[0][w][lane];
                dz_xhat += partial[1][w][lane];
            }
        } else {
            for (i64 n = 0; p < parameters && n < batch; ++n) {
                for (i64 i = lane; i < inner; i += kWarpSize) add(p, n, i, dz, dz_xhat);
            }
            dz = warp_sum(dz);
            dz_xhat = warp_sum(dz_xhat);
        }
        if (p >= parameters || (INNER_IS_1 ? warp : lane) != 0) continue;
        dweight[p] = dz_xhat;
        if (CENTRED) dbias[p] = dz;
    }
}
