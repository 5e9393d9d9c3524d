// Batch normalisation backward: dy, x, dx [N, C, length], sums over N and length for each channel c.
//
//   xhat = (x - mean) invstd,  z = xhat weight + bias + residual,  dz = dy activation'(z)
//   dbias = sum dz,  dweight = sum dz xhat,  dresidual = dz
//   dx = weight invstd (dz - dbias / m - xhat dweight / m) in training, weight invstd dz in evaluation (m = N length)
//
//   batch_norm_backward_naive   one block per channel, scalar accesses: the second oracle, any shape
//   batch_norm_backward         one block per slice of channels; the last HELD positions of each thread stay in registers, so dy and x
//                               are read once where N (length) <= lanes HELD, else the earlier part twice
//   batch_norm_backward_sums    slices x pieces blocks; sums of pieces, added in order by the last block that ends
//   batch_norm_backward_apply   dx from given sums
//
// The pre-activation z is made again from x, nothing but mean and invstd is kept from the forward pass.
// Bytes per element (T = bytes of the storage type): backward 3 T (+ 2 T with a residual below an activation), sums 2 T (+ T), apply 3 T
// (+ 2 T). Mapping: see common/channels.cuh. Sums in f32 in a fixed order: positions of a thread, lanes, warps, pieces.
#include "common/activations.cuh"
#include "common/channels.cuh"
#include "common/grid.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef HELD
#define HELD 4
#endif
#ifndef AFFINE
#define AFFINE 1
#endif
#ifndef RESIDUAL
#define RESIDUAL 0
#endif
#ifndef TRAINING
#define TRAINING 1
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");
static_assert(HELD >= 1, "a chunk has a position");
static_assert(!RESIDUAL || kHasActivation, "without an activation the residual's gradient is dy itself");

using Vector = Vec<T, VECTOR>;

struct Channel {
    float mean, invstd, weight, bias;
    DEVICE void load(const float* means, const float* invstds, const P* w, const P* b, i64 c) {
        mean = means[c];
        invstd = invstds[c];
        weight = AFFINE ? to_float(w[c]) : 1.0f;
        bias = AFFINE && kHasActivation ? to_float(b[c]) : 0.0f;
    }
    DEVICE float xhat(float x) const { return (x - mean) * invstd; }
    DEVICE float dz(float dy, float xhat, float residual) const {
        if (!kHasActivation) return dy;
        float z = AFFINE ? xhat * weight + bias : xhat;
        if (RESIDUAL) z += residual;
        return dy * CompiledActivation::derivative(z);
    }
    DEVICE float dx(float dz, float xhat, float sum_share, float sum_xhat_share) const {
        return (TRAINING ? dz - sum_share - xhat * sum_xhat_share : dz) * invstd * weight;
    }
};

// What every thread of the block needs of its channels, read once.
DEVICE void load_channels(const Slice& slice, Channel (&f)[kThreadChannels], const float* mean, const float* invstd, const P* weight,
                          const P* bias) {
    __shared__ Channel shared[kSliceChannels];
    if (slice.leads()) {
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) shared[slice.local(c)].load(mean, invstd, weight, bias, slice.first + c);
    }
    __syncthreads();
    if (!slice.valid) return;
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) f[c] = shared[slice.local(c)];
}

// The two sums of a channel.
struct Sums {
    float dz, dz_xhat;
};
DEVICE Sums shuffle_xor(Sums v, int mask) { return Sums{gpuengine::shuffle_xor(v.dz, mask), gpuengine::shuffle_xor(v.dz_xhat, mask)}; }
struct Add {
    DEVICE Sums operator()(const Sums& a, const Sums& b) const { return Sums{a.dz + b.dz, a.dz_xhat + b.dz_xhat}; }
};

extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_backward_naive(
    T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight,
    const P* bias, const T* residual, i64 batch, i64 channels, i64 length) {
    const i64 c = blockIdx.x, values = batch * length;
    Channel f;
    f.load(mean, invstd, weight, bias, c);
    float sum = 0.0f, sum_xhat = 0.0f;
    for (i64 k = threadIdx.x; k < values; k += THREADS) {
        const i64 i = (k / length * channels + c) * length + k % length;
        const float xhat = f.xhat(to_float(x[i])), dz = f.dz(to_float(dy[i]), xhat, RESIDUAL ? to_float(residual[i]) : 0.0f);
        sum += dz;
        sum_xhat += dz * xhat;
    }
    sum = block_sum(sum);
    sum_xhat = block_sum(sum_xhat);
    const float share = 1.0f / static_cast<float>(values);
    for (i64 k = threadIdx.x; k < values; k += THREADS) {
        const i64 i = (k / length * channels + c) * length + k % length;
        const float xhat = f.xhat(to_float(x[i])), dz = f.dz(to_float(dy[i]), xhat, RESIDUAL ? to_float(residual[i]) : 0.0f);
        dx[i] = from_float<T>(f.dx(dz, xhat, sum * share, sum_xhat * share));
        if (RESIDUAL) dresidual[i] = from_float<T>(dz);
    }
    if (AFFINE && threadIdx.x == 0) {
        dweight[c] = sum_xhat;
        dbias[c] = sum;
    }
}

struct Held {
    Vector dy, x, residual;
    DEVICE void load_from(const T* dys, const T* xs, const T* residuals, i64 offset) {
        dy = load<VECTOR>(dys + offset);
        x = load<VECTOR>(xs + offset);
        if (RESIDUAL) residual = load<VECTOR>(residuals + offset);
    }
    DEVICE void values(const Channel (&f)[kThreadChannels], int e, float& xhat, float& dz) const {
        const Channel& channel = f[channel_of_element(e)];
        xhat = channel.xhat(to_float(x[e]));
        dz = channel.dz(to_float(dy[e]), xhat, RESIDUAL ? to_float(residual[e]) : 0.0f);
    }
};

// The sums of a thread's positions in [begin, end); those of the last chunk stay in `held`.
DEVICE void thread_sums(const Slice& slice, const Channel (&f)[kThreadChannels], const T* dy, const T* x, const T* residual, i64 begin,
                        i64 end, Held (&held)[HELD], Sums (&sums)[kThreadChannels]) {
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) sums[c] = Sums{0.0f, 0.0f};
    if (!slice.valid) return;
    for (i64 chunk = begin; chunk < end; chunk += static_cast<i64>(HELD) * kLanes) {
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            const i64 position = chunk + slice.lane + static_cast<i64>(h) * kLanes;
            if (position < end) held[h].load_from(dy, x, residual, slice.offset(position));
        }
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
            if (chunk + slice.lane + static_cast<i64>(h) * kLanes >= end) continue;
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) {
                float xhat, dz;
                held[h].values(f, e, xhat, dz);
                sums[channel_of_element(e)].dz += dz;
                sums[channel_of_element(e)].dz_xhat += dz * xhat;
            }
        }
    }
}

DEVICE void apply(T* dx, T* dresidual, const Channel (&f)[kThreadChannels], const Sums (&shares)[kThreadChannels], const Held& held, i64 offset) {
    Vector out, out_residual;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) {
        float xhat, dz;
        held.values(f, e, xhat, dz);
        const Sums& share = shares[channel_of_element(e)];
        out[e] = from_float<T>(f[channel_of_element(e)].dx(dz, xhat, share.dz, share.dz_xhat));
        if (RESIDUAL) out_residual[e] = from_float<T>(dz);
    }
    store(dx + offset, out);
    if (RESIDUAL) store(dresidual + offset, out_residual);
}

extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_backward(
    T* dx, float* dweight, float* dbias, T* dresidual, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight,
    const P* bias, const T* residual, i64 batch, i64 channels, i64 length) {
    const Slice slice(batch, channels, length);
    Channel f[kThreadChannels];
    load_channels(slice, f, mean, invstd, weight, bias);
    Held held[HELD];
    Sums sums[kThreadChannels];
    thread_sums(slice, f, dy, x, residual, 0, slice.positions, held, sums);
    slice_reduce(sums, Add());
    if (!slice.valid) return;
    const float share = 1.0f / static_cast<float>(batch * length);
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) {
        if (AFFINE && slice.leads()) {
            dweight[slice.first + c] = sums[c].dz_xhat;
            dbias[slice.first + c] = sums[c].dz;
        }
        sums[c] = Sums{sums[c].dz * share, sums[c].dz_xhat * share};
    }
    const i64 chunk = static_cast<i64>(HELD) * kLanes, last = (slice.positions - 1) / chunk * chunk;
#pragma unroll
    for (int h = 0; h < HELD; ++h) {
        const i64 position = last + slice.lane + static_cast<i64>(h) * kLanes;
        if (position < slice.positions) apply(dx, dresidual, f, sums, held[h], slice.offset(position));
    }
    for (i64 position = slice.lane; position < last; position += kLanes) {
        const i64 offset = slice.offset(position);
        Held again;
        again.load_from(dy, x, residual, offset);
        apply(dx, dresidual, f, sums, again, offset);
    }
}

// Block (s, p) has positions [p piece, (p + 1) piece) of slice s. `partial` holds 2 floats per piece and channel; the sums go to
// `sums`: those of dz xhat of all channels, then those of dz, and the same to dweight and dbias if AFFINE.
extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_backward_sums(
    float* sums, float* dweight, float* dbias, float* partial, u32* counter, const T* dy, const T* x, const float* mean, const float* invstd,
    const P* weight, const P* bias, const T* residual, i64 batch, i64 channels, i64 length, i64 piece) {
    const Slice slice(batch, channels, length);
    Channel f[kThreadChannels];
    load_channels(slice, f, mean, invstd, weight, bias);
    const i64 begin = blockIdx.y * piece;
    Held held[HELD];
    Sums own[kThreadChannels];
    thread_sums(slice, f, dy, x, residual, begin, min(begin + piece, slice.positions), held, own);
    slice_reduce(own, Add());
    float* const mine = partial + blockIdx.y * channels * 2;
    if (slice.leads()) {
#pragma unroll
        for (int c = 0; c < kThreadChannels; ++c) {
            mine[slice.first + c] = own[c].dz_xhat;
            mine[channels + slice.first + c] = own[c].dz;
        }
    }
    if (!is_last_block(counter)) return;
    for (i64 c = threadIdx.x; c < 2 * channels; c += THREADS) {
        float total = 0.0f;
        for (u32 p = 0; p < gridDim.y; ++p) total += partial[p * channels * 2 + c];
        sums[c] = total;
        if (AFFINE) (c < channels ? dweight[c] : dbias[c - channels]) = total;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) batch_norm_backward_apply(
    T* dx, T* dresidual, const float* sums, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias,
    const T* residual, i64 batch, i64 channels, i64 length, i64 piece) {
    const Slice slice(batch, channels, length);
    __shared__ Sums shared[kSliceChannels];
    if (slice.leads()) {
        const float share = 1.0f / static_cast<float>(batch * length);
        for (int c = 0; c < kThreadChannels; ++c) {
            const i64 at = slice.first + c;
            shared[slice.local(c)] = TRAINING ? Sums{sums[channels + at] * share, sums[at] * share} : Sums{0.0f, 0.0f};
        }
    }
    Channel f[kThreadChannels];
    load_channels(slice, f, mean, invstd, weight, bias);
    if (!slice.valid) return;
    Sums shares[kThreadChannels];
#pragma unroll
    for (int c = 0; c < kThreadChannels; ++c) shares[c] = shared[slice.local(c)];
    const i64 begin = blockIdx.y * piece, end = min(begin + piece, slice.positions);
    for (i64 position = begin + slice.lane; position < end; position += kLanes) {
        const i64 offset = slice.offset(position);
        Held held;
        held.load_from(dy, x, residual, offset);
        apply(dx, dresidual, f, shares, held, offset);
    }
}
