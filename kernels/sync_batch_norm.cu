// Totals of batch normalisation over devices, from what each device found in its share of the batch, in the order of ranks.
//
//   sync_batch_norm_stats   rows (count, mean, m2) per channel: merged by the formula of Chan, Golub and LeVeque (1979) to the batch's
//                           mean and invstd = 1 / sqrt(m2 / count + eps), the total count, and the running statistics as batch_norm.cu
//                           updates them (of nothing they stay as they are)
//   sync_batch_norm_sums    rows (sum dy, sum dy xhat) per channel: added
//
// Layout: a gathered buffer rows [ranks, 3 or 2, channels]; with PEERS rows is a table of as many addresses, in memory of this device, of
// buffers [3 or 2, channels] that lie wherever this device can reach them. The caller sees to it that they are written.
// A share may be empty: with count 0 its mean and m2 are not looked at.
// Mapping: a thread per channel, neighbouring threads side by side, FLIGHT ranks of each on their way. Every device that has the same rows
// gets the same bits.
// Bytes: each row once. Launch and latency decide: a few KiB in all. Registers: 3 FLIGHT + about 20. Arithmetic in f32.
#include "common/moments.cuh"

#ifndef PEERS
#define PEERS 0
#endif
#ifndef RUNNING
#define RUNNING 1
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
#ifndef FLIGHT
#define FLIGHT 8
#endif
#ifndef THREADS
#define THREADS 128
#endif

using namespace gpuengine;

// The values of one rank and channel.
template <int Rows>
DEVICE void read_rank(float (&value)[Rows], const float* rows, i64 rank, i64 channel, i64 channels) {
    const float* from = rows + rank * Rows * channels;
    if (PEERS) from = reinterpret_cast<const float* const*>(rows)[rank];
#pragma unroll
    for (int k = 0; k < Rows; ++k) value[k] = from[k * channels + channel];
}

// Calls with the values of every rank, in order.
template <int Rows, class Each>
DEVICE void over_ranks(const float* rows, i64 ranks, i64 channel, i64 channels, Each&& each) {
    for (i64 first = 0; first < ranks; first += FLIGHT) {
        float value[FLIGHT][Rows];
#pragma unroll
        for (int r = 0; r < FLIGHT; ++r) {
            if (first + r < ranks) read_rank<Rows>(value[r], rows, first + r, channel, channels);
        }
#pragma unroll
        for (int r = 0; r < FLIGHT; ++r) {
            if (first + r < ranks) each(value[r]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) sync_batch_norm_stats(
    float* mean, float* invstd, float* count, float* new_mean, float* new_var, const float* rows, const float* running_mean,
    const float* running_var, i64 ranks, i64 channels) {
    for (i64 c = global_thread(); c < channels; c += global_threads()) {
        Moments<> m = Moments<>::empty();
        over_ranks<3>(rows, ranks, c, channels, [&](const float(&v)[3]) {
            if (v[0] > 0.0f) m = merge(m, Moments<>{v[0], v[1], v[2]});
        });
        mean[c] = m.mean;
        invstd[c] = 1.0f / sqrtf(m.variance() + EPS);
        count[c] = m.count;
        if (RUNNING) {
            const float variance = UNBIASED ? m.unbiased_variance() : m.variance();
            const float old_mean = running_mean[c], old_var = running_var[c];
            const bool any = m.count > 0.0f;
            new_mean[c] = any ? (1.0f - MOMENTUM) * old_mean + MOMENTUM * m.mean : old_mean;
            new_var[c] = any ? (1.0f - MOMENTUM) * old_var + MOMENTUM * variance : old_var;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) sync_batch_norm_sums(float* sums, const float* rows, i64 ranks, i64 channels) {
    for (i64 c = global_thread(); c < channels; c += global_threads()) {
        float dy = 0.0f, dy_xhat = 0.0f;
        over_ranks<2>(rows, ranks, c, channels, [&](const float(&v)[2]) {
            dy += v[0];
            dy_xhat += v[1];
        });
        sums[c] = dy;
        sums[channels + c] = dy_xhat;
    }
}
