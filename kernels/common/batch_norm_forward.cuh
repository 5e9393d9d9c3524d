// What the forward kernels of batch normalisation share: parameters, moments of a thread, a block and a group of blocks, and the step
// from (x, statistics) to y and its sign bits.
//
// Moments: each thread takes the mean and the squared deviations of BATCH positions at a time from registers (two passes, nothing
// cancels) and merges batches by Chan's formula. Lanes, warps and blocks are put together as sums about the first one's mean, which is
// the same formula without a division per step: mean = shift + sum n d / sum n, m2 = sum (m2 + n d^2) - (sum n d)^2 / sum n.
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
#ifndef RESIDUAL
#define RESIDUAL 0
#endif
#ifndef MASK  // sign bits are written
#define MASK 0
#endif
#ifndef COUNTS  // values above 0 are counted per channel
#define COUNTS 0
#endif
#ifndef RUNNING
#define RUNNING 1
#endif
#ifndef TRAINING
#define TRAINING 1
#endif
#ifndef UNBIASED
#define UNBIASED 1
#endif
#ifndef MOMENTUM
#define MOMENTUM 0.1f
#endif
#ifndef EPS
#define EPS 1e-5f
#endif

namespace gpuengine {

using T = DTYPE;
using P = PARAM_DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");

using Vector = Packed<T, VECTOR>;
constexpr int kPerWord = Vector::kPerWord;

// Rounding may leave a sum of squares below zero; NaN stays.
DEVICE float variance_of(float m2, float count) { return m2 < 0.0f ? 0.0f : m2 / count; }
DEVICE float invstd_of(float variance) { return 1.0f / sqrtf(variance + EPS); }

// The statistics of a channel as they leave the kernel.
struct Statistics {
    float *mean, *invstd, *new_mean, *new_var;
    const float *running_mean, *running_var;

    DEVICE void write(u32 c, float batch_mean, float m2, float count) const {
        mean[c] = batch_mean;
        invstd[c] = invstd_of(variance_of(m2, count));
    }
    // What was known of a channel: read it early, an update that waits for it holds up its warp.
    DEVICE Vec<float, 2> running(u32 c, bool exists) const {
        return RUNNING && exists ? Vec<float, 2>{running_mean[c], running_var[c]} : Vec<float, 2>{0.0f, 0.0f};
    }
    DEVICE void update_running(u32 c, const Vec<float, 2>& known, float batch_mean, float m2, float count) const {
        if (!RUNNING) return;
        const float variance = variance_of(m2, count);
        const float kept = UNBIASED ? variance * (count / (count - 1.0f)) : variance;
        new_mean[c] = (1.0f - MOMENTUM) * known[0] + MOMENTUM * batch_mean;
        new_var[c] = (1.0f - MOMENTUM) * known[1] + MOMENTUM * kept;
    }
};

struct Moments {
    float count, mean[kChannels], m2[kChannels];

    DEVICE Moments() : count(0.0f) {
#pragma unroll
        for (int c = 0; c < kChannels; ++c) mean[c] = m2[c] = 0.0f;
    }

    DEVICE void add(const Vector (&v)[BATCH], int n) {
        if (n == BATCH)
            add<true>(v, BATCH);
        else if (n > 0)
            add<false>(v, n);
    }

private:
    template <bool Whole>
    DEVICE void add(const Vector (&v)[BATCH], int n) {
        constexpr int elements = VECTOR / kChannels;
        const float fresh = Layout::elements(static_cast<u32>(n)), total = count + fresh;
        // Approximate: a share that errs by two roundings moves the mean by as much of its last step.
        const float inverse = Whole ? 1.0f / (BATCH * elements) : 1.0f / fresh, share = __fdividef(fresh, total), weight = count * share;
        count = total;
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
            float sum = 0.0f, squares = 0.0f;
#pragma unroll
            for (int j = 0; j < BATCH; ++j) {
                float part = v[j][c];  // what is absent is zero
#pragma unroll
                for (int e = 1; e < elements; ++e) part += v[j][c + e];
                sum += part;
            }
            const float average = sum * inverse, delta = average - mean[c];
#pragma unroll
            for (int j = 0; j < BATCH; ++j) {
                float part = 0.0f;
#pragma unroll
                for (int e = 0; e < elements; ++e) {
                    const float d = v[j][c + e] - average;
                    part += d * d;
                }
                squares += Whole || j < n ? part : 0.0f;
            }
            mean[c] += delta * share;
            m2[c] += squares + delta * delta * weight;
        }
    }
};

// The moments of slot t over the block, in thread t < kSlots. The exchange must be free before, and is after the next barrier.
DEVICE void block_moments(Moments& m, Exchange& exchange, float& mean, float& m2) {
    const u32 thread = opaque(threadIdx.x), lane = thread % kWarpSize, warp = thread / kWarpSize;
    const float count = m.count, total = column_sum(count), inverse = total > 0.0f ? 1.0f / total : 0.0f;
#pragma unroll
    for (int c = 0; c < kChannels; ++c) {
        // The lowest lane of a column has the first positions: where any lane has some, it does.
        const float shift = __shfl_sync(kFullMask, m.mean[c], static_cast<int>(lane % WIDTH)), d = m.mean[c] - shift;
        const float sum = column_sum(count * d), squares = column_sum(m.m2[c] + count * d * d);
        m.mean[c] = shift + sum * inverse;
        m.m2[c] = squares - sum * sum * inverse;
    }
    if (lane < WIDTH) {
        store_slots(exchange.first[warp], static_cast<int>(lane), m.mean);
        store_slots(exchange.second[warp], static_cast<int>(lane), m.m2);
    }
    if (lane == 0) exchange.counts[warp] = total;
    __syncthreads();
    if (thread >= kSlots) return;
    const float shift = exchange.first[0][thread];
    float n = 0.0f, sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
        const float d = exchange.first[w][thread] - shift, part = exchange.counts[w];
        n += part;
        sum += part * d;
        squares += exchange.second[w][thread] + part * d * d;
    }
    // A block without positions has nothing to say, but says it with numbers.
    mean = n > 0.0f ? shift + sum / n : 0.0f;
    m2 = n > 0.0f ? squares - sum * sum / n : 0.0f;
}

// The moments of slot t over the blocks that share a slice, block r having positions [r share, (r + 1) share), in thread t < kSlots. A row
// of `rows` is the kSlots (mean, m2) of a block. The exchange must be free before, and is after the next barrier.
DEVICE void merge_rows(const float* rows, u32 blocks, u32 share, const Layout& at, Exchange& exchange, float& mean, float& m2) {
    const u32 thread = opaque(threadIdx.x), slot = thread % kSlots;
    const float shift = rows[2 * slot];
    float sum = 0.0f, squares = 0.0f;
#pragma unroll 16
    for (u32 r = thread / kSlots; r < blocks; r += THREADS / kSlots) {
        const Vec<float, 2> row = load<2>(rows + 2 * (r * kSlots + slot));
        const float n = Layout::elements(min(at.positions, (r + 1) * share) - min(at.positions, r * share)), d = row[0] - shift;
        sum += n * d;
        squares += row[1] + n * d * d;
    }
    sum_slots(sum, squares, exchange);
    const float n = Layout::elements(at.positions);
    mean = shift + sum / n;
    m2 = squares - sum * sum / n;
}

// What the channels of a slice do to their elements.
struct Coefficients {
    alignas(16) float mean[kSlots];
    alignas(16) float scale[kSlots];
    alignas(16) float bias[kSlots];

    // For thread t < kSlots to call, also where its slot has no channel.
    DEVICE void set(u32 slot, float slot_mean, float slot_scale, float slot_bias) {
        mean[slot] = slot_mean;
        scale[slot] = slot_scale;
        bias[slot] = slot_bias;
    }
};

// How many values of each of a thread's channels lie above 0. Whole numbers: atomics add them up to the same in any order.
struct Positives {
    u32 of[kChannels];

    DEVICE Positives() { clear(); }
    // What the blocks of a slice add to; by one thread per channel, before a barrier that all of them pass.
    DEVICE static void begin(i64* positive, u32 c) {
        if (COUNTS) positive[c] = 0;
    }
    // Adds the block's. All threads call; the exchange must be free before, and is after.
    DEVICE void finish(i64* positive, const Layout& at, u32 slice, Exchange& exchange) {
        if (!COUNTS) return;
        const u32 thread = threadIdx.x, lane = thread % kWarpSize, warp = thread / kWarpSize;
        float bits[kChannels];
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
#pragma unroll
            for (int step = WIDTH; step < kWarpSize; step *= 2) of[c] += shuffle_xor(of[c], step);
            bits[c] = __int_as_float(static_cast<int>(of[c]));
        }
        if (lane < WIDTH) store_slots(exchange.first[warp], static_cast<int>(lane), bits);
        __syncthreads();
        const u32 c = at.slot_channel(slice, thread);
        if (thread < kSlots && c < at.channels) {
            u32 total = 0;
#pragma unroll
            for (int w = 0; w < kWarps; ++w) total += static_cast<u32>(__float_as_int(exchange.first[w][thread]));
            atomicAdd(reinterpret_cast<unsigned long long*>(positive) + c, static_cast<unsigned long long>(total));
        }
        __syncthreads();
        clear();
    }

private:
    DEVICE void clear() {
#pragma unroll
        for (int c = 0; c < kChannels; ++c) of[c] = 0;
    }
};

// x to y, the residual and the sign bits included, for one batch. All lanes of a warp call; n is 0 where there is nothing.
DEVICE void apply_batch(T* y, u8* mask, Vector (&v)[BATCH], const Vector (&residual)[BATCH], const Coefficients& f, const Layout& at,
                        u32 channel, u32 position, int n, Positives& positives) {
    u32 bits = 0;
#pragma unroll
    for (int piece = 0; piece < VECTOR / kSpan; ++piece) {
        const Vec<float, kPiece> mean = piece_of(f.mean, at.column, piece), scale = piece_of(f.scale, at.column, piece);
        const Vec<float, kPiece> bias = AFFINE ? piece_of(f.bias, at.column, piece) : mean;
#pragma unroll
        for (int i = 0; i < kSpan; i += kPerWord) {
#pragma unroll
            for (int j = 0; j < BATCH; ++j) {
                float out[kPerWord];
#pragma unroll
                for (int k = 0; k < kPerWord; ++k) {
                    const int e = piece * kSpan + i + k, c = PLANES ? 0 : i + k;
                    float z = (v[j][e] - mean[c]) * scale[c];
                    if (AFFINE) z += bias[c];
                    if (RESIDUAL) z += residual[j][e];
                    if (MASK && !(z <= 0.0f)) bits |= 1u << (8 * j + e);
                    out[k] = CompiledActivation::forward(z);
                    if (COUNTS) positives.of[c + (PLANES ? 0 : piece * kSpan)] += j < n && out[k] > 0.0f ? 1u : 0u;
                }
                v[j].set_word((piece * kSpan + i) / kPerWord, out[0], out[kPerWord - 1]);
            }
        }
    }
    store_batch(y, v, at, channel, position, n);
    if (MASK) store_mask(mask, bits, at, channel, position, n);
}

}  // namespace gpuengine
