// Normalisation of contiguous rows, forward: layer_norm, group_norm, instance_norm and (CENTRED 0) rms_norm with an activation. x is
// [rows, units, vectors VECTOR]; unit u of row r has parameter (r mod groups) units + u, or under layer_norm (ELEMENTS) each element
// of a row its own.
//
//   y = activation((x - mean) invstd weight + bias),  invstd = 1 / sqrt(mean of (x - mean)^2 + eps) over the row
//
//   row_norm_forward        the above
//   instance_norm_running   instance_norm's running statistics from mean and invstd
//
// One read and one write: a row stays in the registers of LANES threads of each of CLUSTER blocks between its statistics and y (see
// common/rows.cuh). Blocks stay for many rows: weight and bias are read once per block (PARAMS: kept in registers or shared memory),
// and the next rows are under way while these are reduced: copied ahead into shared memory (STAGES sets of them, STAGES rows_bytes),
// or loaded into each register as it becomes free.
//
// Bytes per element (S = bytes of the storage type): 2 S, beside 2 parameters per element and block (ELEMENTS) or per unit and row.
// Registers: held 4 UNITS HELD ROWS (16-byte vectors), parameters in registers 2 VECTOR HELD, about 30 more.
// Statistics in f32 about a pivot (an element of the row): sums of deviations, then of their squares; warps are merged by
// sum of m2 + count (mean - common mean)^2, in a fixed order. The result depends on LANES, CLUSTER and TEAM, not on the grid.
// FAST_MATH is asked for with an activation in bf16: an error of 2^-20 in exp disappears in a result of 8 bits.
#include "common/activations.cuh"
#include "common/parts.cuh"
#include "common/row_parameters.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef PARAM_DTYPE  // weight and bias
#define PARAM_DTYPE float
#endif
#ifndef CENTRED
#define CENTRED 1
#endif
#ifndef EPS
#define EPS 1e-5f
#endif
#ifndef MOMENTUM  // of instance_norm
#define MOMENTUM 0.1f
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;
using Row = Packed<T, VECTOR>;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) row_norm_forward(
    T* y, float* mean, float* invstd, const T* x, const P* weight, const P* bias, i64 rows, i64 groups, i64 units, i64 vectors) {
    DYNAMIC_SHARED(T, ahead);
    __shared__ Part parts[Exchange<Part>::kEntries];
    const Place place;
    Exchange<Part> exchange(parts);
    const i64 first_parameter = place.first_parameter(groups, units * vectors * VECTOR);
    RowParameters<P> parameters(weight + first_parameter, bias + first_parameter, ahead + STAGES * ROWS * kVectors * THREADS * VECTOR);
    const i64 stride = place.stride(), row_length = units * vectors * VECTOR;
    const float length = static_cast<float>(row_length);
    const auto row_at = [&](i64 base, int r) { return base + r * kSlots + place.slot; };
    const auto staged = [&](int stage, int r, int j) { return ahead + (((stage * ROWS + r) * kVectors + j) * THREADS + threadIdx.x) * VECTOR; };

    Row held[ROWS][kVectors];
    const auto fetch = [&](i64 base, int stage) {  // into registers where there are no stages
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const i64 row = row_at(base, r);
            const T* const from = x + row * row_length;
#pragma unroll
            for (int j = 0; j < kVectors; ++j) {
                if (STAGES == 0) held[r][j] = Row::zero();
                if (row >= rows || !place.has(j / HELD, j % HELD, units, vectors)) continue;
                const T* const address = from + place.offset(j / HELD, j % HELD, vectors);
                if constexpr (STAGES == 0) load_packed<true>(held[r][j], address);
                else async_copy<VECTOR>(staged(stage, r, j), address);
            }
        }
        if (STAGES > 0) async_commit();
    };
    if constexpr (STAGES == 0) fetch(place.start(), 0);
    for (int s = 0; s < STAGES; ++s) fetch(place.start() + s * stride, s);
    parameters.keep(place, vectors);
    exchange.begin();

    float count = 0.0f;
#pragma unroll
    for (int j = 0; j < kVectors; ++j) count += place.has(j / HELD, j % HELD, units, vectors) ? VECTOR : 0.0f;
    count = kParts > 1 ? row_warp_sum(count) : length;
    const float share = count > 0.0f ? 1.0f / count : 0.0f;

    int stage = 0;
    for (i64 base = place.start(); base < rows; base += stride) {
        if constexpr (STAGES > 0) {
            async_wait<STAGES - 1>();
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
#pragma unroll
                for (int j = 0; j < kVectors; ++j) {
                    held[r][j] = Row::zero();
                    if (row_at(base, r) < rows && place.has(j / HELD, j % HELD, units, vectors)) load_packed<false>(held[r][j], staged(stage, r, j));
                }
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) parameters.read_units(place, r, static_cast<u32>(row_at(base, r)) % static_cast<u32>(groups) * units, units, row_at(base, r) < rows);
        Part own[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const float first = place.has(0, 0, units, vectors) ? held[r][0][0] : 0.0f;
            const float pivot = CENTRED ? __shfl_sync(kFullMask, first, 0, kRowWidth) : 0.0f;
            float sums[2] = {0.0f, 0.0f};
#pragma unroll
            for (int j = 0; j < (CENTRED ? kVectors : 0); ++j) {
                if (!place.has(j / HELD, j % HELD, units, vectors)) continue;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) sums[e % 2] += held[r][j][e] - pivot;
            }
            own[r] = Part{pivot, sums[0] + sums[1], 0.0f, count};
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) own[r].mean = CENTRED ? row_warp_sum(own[r].mean) * share : 0.0f;
        // The registers have what was staged: the place is free.
        if constexpr (STAGES > 0) {
            fetch(base + STAGES * stride, stage);
            stage = stage + 1 < STAGES ? stage + 1 : 0;
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            float squares[2] = {0.0f, 0.0f};
#pragma unroll
            for (int j = 0; j < kVectors; ++j) {
                if (!place.has(j / HELD, j % HELD, units, vectors)) continue;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) {
                    const float d = held[r][j][e] - own[r].pivot - own[r].mean;
                    squares[e % 2] += d * d;
                }
            }
            own[r].m2 = squares[0] + squares[1];
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) own[r].m2 = row_warp_sum(own[r].m2);
        Statistics row[ROWS];
        if constexpr (kParts > 1) {
            exchange.put(place, own);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) row[r] = merge_parts<kPartsWidth>(exchange.row(place, r), kParts, 1, length);
            exchange.next();
        } else {
#pragma unroll
            for (int r = 0; r < ROWS; ++r) row[r] = Statistics{own[r].pivot, own[r].mean, own[r].m2};
        }
        float scale[ROWS], origin[ROWS];  // origin: xhat of 0
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            scale[r] = 1.0f / sqrtf(row[r].m2 / length + EPS);
            const float middle = row[r].pivot + row[r].centre;
            origin[r] = -middle * scale[r];
            if (place.lane != 0 || row_at(base, r) >= rows) continue;
            if (CENTRED) mean[row_at(base, r)] = middle;
            invstd[row_at(base, r)] = scale[r];
        }
#pragma unroll
        for (int j = 0; j < kVectors; ++j) {
            const int k = j / HELD, h = j % HELD;
            if (!place.has(k, h, units, vectors)) continue;
            const i64 offset = place.offset(k, h, vectors);
            Vec<float, VECTOR> w, b;
            parameters.get(place, h, w, b);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const i64 at = row_at(base, r), next = row_at(base + stride, r);
                if (at >= rows) continue;
                const auto result = [&](int e) {
                    const float v = held[r][j][e];
                    // In f32 the pivot keeps digits that the mean has lost; in bf16 the storage has lost more.
                    const float xhat = !CENTRED ? v * scale[r] : sizeof(T) == 4 ? (v - row[r].pivot - row[r].centre) * scale[r] : v * scale[r] + origin[r];
                    if (!AFFINE) return CompiledActivation::forward(xhat);
                    const float wt = ELEMENTS ? w[e] : parameters.unit_weight[r][k], shift = ELEMENTS ? b[e] : parameters.unit_bias[r][k];
                    return CompiledActivation::forward(CENTRED ? xhat * wt + shift : xhat * wt);
                };
                Row out;
#pragma unroll
                for (int i = 0; i < Row::kWords; ++i) out.set_word(i, result(i * Row::kPerWord), result(i * Row::kPerWord + Row::kPerWord - 1));
                if (STAGES == 0) {
                    held[r][j] = Row::zero();
                    if (next < rows) load_packed<true>(held[r][j], x + next * row_length + offset);
                }
                store_packed<false>(y + at * row_length + offset, out);
            }
        }
    }
    if constexpr (STAGES > 0) async_wait<0>();
}

// instance_norm's running statistics: the share MOMENTUM of the batch's mean of the instances' means and unbiased variances. A thread per
// channel. The variance comes back from invstd, whose relative error of 2^-23 it doubles.
extern "C" __global__ void __launch_bounds__(THREADS) instance_norm_running(
    float* new_mean, float* new_var, float* mean, float* invstd, const float* running_mean, const float* running_var, i64 batch,
    i64 channels, i64 length) {
    const i64 channel = global_thread();
    if (channel >= channels) return;
    float means = 0.0f, variances = 0.0f;
    for (i64 n = 0; n < batch; ++n) {
        const float scale = invstd[n * channels + channel];
        means += mean[n * channels + channel];
        variances += fmaxf(1.0f / (scale * scale) - EPS, 0.0f);
    }
    const float share = MOMENTUM / static_cast<float>(batch), unbiased = static_cast<float>(length) / static_cast<float>(length - 1);
    new_mean[channel] = running_mean[channel] * (1.0f - MOMENTUM) + means * share;
    new_var[channel] = running_var[channel] * (1.0f - MOMENTUM) + variances * unbiased * share;
}
