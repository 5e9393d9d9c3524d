// Normalisation of rows: layer_norm, group_norm, instance_norm and (CENTRED 0) rms_norm, forward and backward. x is [rows, units, inner];
// element (r, u, i) has parameter p = (r mod groups) units + u.
//
//   y = activation((x - mean) invstd weight[p] + bias[p]),  invstd = 1 / sqrt(mean of (x - mean)^2 + eps) over the row
//   dz = dy activation'(z), g = dz weight[p]:  dx = invstd (g - mean(g) - xhat mean(g xhat)), without mean(g) if not CENTRED
//   dweight[p] = sum of dz xhat, dbias[p] = sum of dz over the rows and places that have parameter p
//
//   row_norm_forward      LANES threads per row; the last HELD vectors of each thread stay in registers: x is read once where a row
//                         has at most LANES HELD vectors, else twice
//   row_norm_backward     dx likewise
//   row_norm_parameters   parameters x pieces blocks: partial sums over pieces of the rows, added in order by the last block that ends
//
// Mapping: rows as above (a warp or a block); parameters as channels of [rows / groups, groups units, inner], see common/channels.cuh
// (PLANES is inner > 1). Bytes per element (T = bytes of the storage type): forward 2 T, backward 3 T, parameters 2 T.
// Statistics and sums in f32: two passes over HELD vectors at a time from registers, merged by Chan's formula, in a fixed order.
#include "common/activations.cuh"
#include "common/channels.cuh"
#include "common/grid.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef LANES
#define LANES 32
#endif
#ifndef HELD
#define HELD 4
#endif
#ifndef ROW_VECTOR  // elements of a row that one access takes; VECTOR is that of the parameter kernel
#define ROW_VECTOR 4
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

static_assert(ROW_VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(LANES == kWarpSize || LANES == THREADS, "a row is taken by a warp or a block");

using Row = Vec<T, ROW_VECTOR>;
constexpr int kRowsPerBlock = THREADS / LANES;

template <class V, class Op>
DEVICE V row_reduce(V value, Op op, V identity) {
    return LANES == THREADS ? block_reduce(value, op, identity) : warp_reduce(value, op);
}

// The parameters of ROW_VECTOR neighbouring elements; at is the first one's place in its row.
struct Parameters {
    Vec<float, ROW_VECTOR> weight, bias;
    DEVICE Parameters(const P* w, const P* b, i64 first, i64 at, i64 inner, bool with_bias) {
        if (!AFFINE) return;
        if (INNER_IS_1) {
#pragma unroll
            for (int e = 0; e < ROW_VECTOR; ++e) weight[e] = to_float(w[first + at + e]);
            if (CENTRED && with_bias) {
#pragma unroll
                for (int e = 0; e < ROW_VECTOR; ++e) bias[e] = to_float(b[first + at + e]);
            }
            return;
        }
        // ROW_VECTOR divides inner: one parameter for all.
        const i64 p = first + at / inner;
#pragma unroll
        for (int e = 0; e < ROW_VECTOR; ++e) {
            weight[e] = to_float(w[p]);
            bias[e] = CENTRED && with_bias ? to_float(b[p]) : 0.0f;
        }
    }
    DEVICE float transform(float xhat, int e) const {
        if (!AFFINE) return xhat;
        return CENTRED ? xhat * weight[e] + bias[e] : xhat * weight[e];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) row_norm_forward(
    T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 rows, i64 groups, i64 units, i64 inner) {
    const i64 length = units * inner, vectors = length / ROW_VECTOR, lane = threadIdx.x % LANES;
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
                held[h] = load<ROW_VECTOR>(from + v * ROW_VECTOR);
                count += ROW_VECTOR;
#pragma unroll
                for (int e = 0; e < ROW_VECTOR; ++e) sum += to_float(held[h][e]);
            }
            if (count == 0.0f) continue;
            const float middle = CENTRED ? sum / count : 0.0f;
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                if (begin + lane + h * LANES >= vectors) continue;
#pragma unroll
                for (int e = 0; e < ROW_VECTOR; ++e) {
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
            const Parameters p(weight, bias, first, v * ROW_VECTOR, inner, true);
            Row out;
#pragma unroll
            for (int e = 0; e < ROW_VECTOR; ++e)
                out[e] = from_float<T>(CompiledActivation::forward(p.transform((to_float(in[e]) - m.mean) * scale, e)));
            store(to + v * ROW_VECTOR, out);
        };
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i64 v = last + lane + h * LANES;
            if (v < vectors) write(held[h], v);
        }
        for (i64 v = lane; v < last; v += LANES) write(load<ROW_VECTOR>(from + v * ROW_VECTOR), v);
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

extern "C" __global__ void __launch_bounds__(THREADS) row_norm_backward(
    T* dx, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, i64 rows, i64 groups, i64 units,
    i64 inner) {
    const i64 length = units * inner, vectors = length / ROW_VECTOR, lane = threadIdx.x % LANES;
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
            const Parameters p(weight, bias, first, at * ROW_VECTOR, inner, kHasActivation);
#pragma unroll
            for (int e = 0; e < ROW_VECTOR; ++e) {
                const Element d = element(to_float(g[e]), to_float(v[e]), middle, scale, p.weight[e], p.bias[e]);
                use(e, AFFINE ? d.dz * p.weight[e] : d.dz, d.xhat);
            }
        };
        for (i64 begin = 0; exists && begin < vectors; begin += chunk) {
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                const i64 v = begin + lane + h * LANES;
                if (v >= vectors) continue;
                held_dy[h] = load<ROW_VECTOR>(dys + v * ROW_VECTOR);
                held_x[h] = load<ROW_VECTOR>(xs + v * ROW_VECTOR);
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
            store(to + v * ROW_VECTOR, out);
        };
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i64 v = last + lane + h * LANES;
            if (v < vectors) write(held_dy[h], held_x[h], v);
        }
        for (i64 v = lane; v < last; v += LANES) write(load<ROW_VECTOR>(dys + v * ROW_VECTOR), load<ROW_VECTOR>(xs + v * ROW_VECTOR), v);
    }
}

// The two sums of a parameter.
struct Sums {
    float dz, dz_xhat;
};
DEVICE Sums shuffle_xor(Sums v, int mask) { return Sums{gpuengine::shuffle_xor(v.dz, mask), gpuengine::shuffle_xor(v.dz_xhat, mask)}; }
struct Add {
    DEVICE Sums operator()(const Sums& a, const Sums& b) const { return Sums{a.dz + b.dz, a.dz_xhat + b.dz_xhat}; }
};

// Block (s, p) has positions [p piece, (p + 1) piece) of slice s of [batch, groups units, inner]; `partial` holds 2 floats per piece
// and parameter.
extern "C" __global__ void __launch_bounds__(THREADS) row_norm_parameters(
    float* dweight, float* dbias, float* partial, u32* counter, const T* dy, const T* x, const float* mean, const float* invstd,
    const P* weight, const P* bias, i64 batch, i64 parameters, i64 inner, i64 groups, i64 units, i64 piece) {
    const Slice slice(batch, parameters, inner);
    float w[kThreadChannels] = {}, b[kThreadChannels] = {};
    if (slice.valid && kHasActivation) {
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) {
            w[c] = to_float(weight[slice.first + c]);
            b[c] = CENTRED ? to_float(bias[slice.first + c]) : 0.0f;
        }
    }
    Sums own[kThreadChannels];
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) own[c] = Sums{0.0f, 0.0f};
    const i64 begin = blockIdx.y * piece, end = min(begin + piece, slice.positions);
    for (i64 position = begin + slice.lane; slice.valid && position < end; position += kLanes) {
        const i64 offset = slice.offset(position), sample = PLANES ? position / (inner / VECTOR) : position;
        const auto g = load<VECTOR>(dy + offset), v = load<VECTOR>(x + offset);
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            const int c = channel_of_element(e);
            const i64 row = sample * groups + (slice.first + c) / units;
            const Element d = element(to_float(g[e]), to_float(v[e]), CENTRED ? mean[row] : 0.0f, invstd[row], w[c], b[c]);
            own[c].dz += d.dz;
            own[c].dz_xhat += d.dz * d.xhat;
        }
    }
    slice_reduce(own, Add());
    float* const mine = partial + blockIdx.y * parameters * 2;
    if (slice.leads()) {
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) {
            mine[slice.first + c] = own[c].dz_xhat;
            mine[parameters + slice.first + c] = own[c].dz;
        }
    }
    if (!is_last_block(counter)) return;
    for (i64 k = threadIdx.x; k < (CENTRED ? 2 : 1) * parameters; k += THREADS) {
        float total = 0.0f;
        for (u32 p = 0; p < gridDim.y; ++p) total += partial[p * parameters * 2 + k];
        (k < parameters ? dweight[k] : dbias[k - parameters]) = total;
    }
}
