// What the backward kernels of batch normalisation share: parameters, the two sums of a channel, and the step from (dy, x, sums) to dx.
//
// Sums are of dz and dz (x - mean); the second times invstd is dweight. With MASK the sign bits turn dy into dz, which is also the
// residual's gradient and is written at once; what is kept for the second step then is dz. Without it the pre-activation is made again
// from x (and a residual, which is read twice).
#pragma once
#include "activations.cuh"
#include "sign_mask.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef RESIDUAL  // a residual is read
#define RESIDUAL 0
#endif
#ifndef MASK  // sign bits are read
#define MASK 0
#endif
#ifndef TRAINING
#define TRAINING 1
#endif

namespace gpuengine {

using T = DTYPE;
using P = PARAM_DTYPE;

constexpr bool kRecomputes = kHasActivation && !MASK;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(!RESIDUAL || kRecomputes, "a residual is read to make the pre-activation again");

using Vector = Packed<T, VECTOR>;
constexpr int kPerWord = Vector::kPerWord;

// dz of one element, d being x - mean.
DEVICE float dz_of(float dy, float d, float scale, float bias, float residual) {
    if (!kRecomputes) return dy;
    float z = d * scale;
    if (AFFINE) z += bias;
    if (RESIDUAL) z += residual;
    return dy * CompiledActivation::derivative(z);
}

// Of the channels of a slice: statistics and parameters, then the terms of dx = scale (dz + sum + (x - mean) product).
struct Coefficients {
    alignas(16) float mean[kSlots];
    alignas(16) float scale[kSlots];
    alignas(16) float bias[kSlots];
    alignas(16) float sum[kSlots];
    alignas(16) float product[kSlots];
    alignas(16) float invstd[kSlots];

    // From the sums over all positions, those of its slot, which is thread t < kSlots' to call.
    DEVICE void set_sums(u32 slot, float dz, float dz_d, float count) {
        sum[slot] = -dz / count;
        product[slot] = -dz_d * invstd[slot] * invstd[slot] / count;
    }
    DEVICE void write(float* dweight, float* dbias, u32 slot, u32 c, float dz, float dz_d) const {
        if (!AFFINE) return;
        dweight[c] = dz_d * invstd[slot];
        dbias[c] = dz;
    }
};

// What the forward pass left of a channel, and its parameters.
struct Parameters {
    float mean, invstd, weight, bias;

    DEVICE Parameters() : mean(0.0f), invstd(0.0f), weight(0.0f), bias(0.0f) {}
    DEVICE Parameters(const float* means, const float* invstds, const P* weights, const P* biases, u32 c) {
        mean = means[c];
        invstd = invstds[c];
        weight = AFFINE ? to_float(weights[c]) : 1.0f;
        bias = AFFINE && kRecomputes ? to_float(biases[c]) : 0.0f;
    }
    DEVICE void store(Coefficients& f, u32 slot) const {
        f.sum[slot] = f.product[slot] = 0.0f;  // until they are known
        f.mean[slot] = mean;
        f.scale[slot] = invstd * weight;
        f.bias[slot] = bias;
        f.invstd[slot] = invstd;
    }
};

struct Sums {
    float dz[kChannels], product[kChannels];

    DEVICE Sums() {
#pragma unroll
        for (int c = 0; c < kChannels; ++c) dz[c] = product[c] = 0.0f;
    }

    // Adds a batch; with MASK dy becomes dz. What is absent is zero and adds nothing.
    DEVICE void add(Vector (&dy)[BATCH], const Vector (&x)[BATCH], const Vector (&residual)[BATCH], u32 bits, const Coefficients& f,
                    const Layout& at) {
        if (MASK) {
#pragma unroll
            for (int j = 0; j < BATCH; ++j) dy[j].keep(bits >> 8 * j);
        }
#pragma unroll
        for (int piece = 0; piece < VECTOR / kSpan; ++piece) {
            const Vec<float, kPiece> mean = piece_of(f.mean, at.column, piece);
            const Vec<float, kPiece> scale = kRecomputes ? piece_of(f.scale, at.column, piece) : mean;
            const Vec<float, kPiece> bias = kRecomputes && AFFINE ? piece_of(f.bias, at.column, piece) : mean;
#pragma unroll
            for (int i = 0; i < kSpan; ++i) {
                const int e = piece * kSpan + i, c = PLANES ? 0 : i, own = PLANES ? 0 : e;
#pragma unroll
                for (int j = 0; j < BATCH; ++j) {
                    const float d = x[j][e] - mean[c], g = dz_of(dy[j][e], d, scale[c], bias[c], RESIDUAL ? residual[j][e] : 0.0f);
                    dz[own] += g;
                    product[own] += g * d;
                }
            }
        }
    }
};

// The sums of slot t over the block, in thread t < kSlots. The exchange must be free before, and is after the next barrier.
DEVICE void block_sums(Sums& s, Exchange& exchange, float& sum, float& product) {
    const u32 thread = opaque(threadIdx.x), lane = thread % kWarpSize, warp = thread / kWarpSize;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
        s.dz[c] = column_sum(s.dz[c]);
        s.product[c] = column_sum(s.product[c]);
    }
    if (lane < WIDTH) {
        store_slots(exchange.first[warp], static_cast<int>(lane), s.dz);
        store_slots(exchange.second[warp], static_cast<int>(lane), s.product);
    }
    __syncthreads();
    if (thread >= kSlots) return;
    sum = product = 0.0f;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
        sum += exchange.first[w][thread];
        product += exchange.second[w][thread];
    }
}

// Those over the blocks that share a slice, in thread t < kSlots; a row of `rows` is the kSlots (sum, product) of a block. The exchange
// must be free before, and is after the next barrier.
DEVICE void add_rows(const float* rows, u32 blocks, Exchange& exchange, float& sum, float& product) {
    const u32 thread = opaque(threadIdx.x), slot = thread % kSlots;
    sum = product = 0.0f;
#pragma unroll 16
    for (u32 r = thread / kSlots; r < blocks; r += THREADS / kSlots) {
        const Vec<float, 2> row = load<2>(rows + 2 * (r * kSlots + slot));
        sum += row[0];
        product += row[1];
    }
    sum_slots(sum, product, exchange);
}

// (dy, x) to dx, and to the residual's gradient where a residual is read, for one batch.
DEVICE void apply_batch(T* dx, T* dresidual, Vector (&dy)[BATCH], const Vector (&x)[BATCH], Vector (&residual)[BATCH], const Coefficients& f,
                        const Layout& at, u32 channel, u32 position, int n) {
#pragma unroll
    for (int piece = 0; piece < VECTOR / kSpan; ++piece) {
        const Vec<float, kPiece> scale = piece_of(f.scale, at.column, piece);
        const Vec<float, kPiece> mean = kRecomputes || TRAINING ? piece_of(f.mean, at.column, piece) : scale;
        const Vec<float, kPiece> bias = kRecomputes && AFFINE ? piece_of(f.bias, at.column, piece) : scale;
        const Vec<float, kPiece> sum = TRAINING ? piece_of(f.sum, at.column, piece) : scale;
        const Vec<float, kPiece> product = TRAINING ? piece_of(f.product, at.column, piece) : scale;
#pragma unroll
        for (int i = 0; i < kSpan; i += kPerWord) {
#pragma unroll
            for (int j = 0; j < BATCH; ++j) {
                float out[kPerWord], out_residual[kPerWord];
#pragma unroll
                for (int k = 0; k < kPerWord; ++k) {
                    const int e = piece * kSpan + i + k, c = PLANES ? 0 : i + k;
                    const float d = x[j][e] - mean[c], g = dz_of(dy[j][e], d, scale[c], bias[c], RESIDUAL ? residual[j][e] : 0.0f);
                    out_residual[k] = g;
                    out[k] = scale[c] * (TRAINING ? g + (sum[c] + d * product[c]) : g);
                }
                const int w = (piece * kSpan + i) / kPerWord;
                dy[j].set_word(w, out[0], out[kPerWord - 1]);
                if (RESIDUAL) residual[j].set_word(w, out_residual[0], out_residual[kPerWord - 1]);
            }
        }
    }
    store_batch(dx, dy, at, channel, position, n);
    if (RESIDUAL) store_batch(dresidual, residual, at, channel, position, n);
}

}  // namespace gpuengine
