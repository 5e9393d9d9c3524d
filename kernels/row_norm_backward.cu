// The gradients of row_norm.cu in one read of dy and x.
//
//   dz = dy activation'(z), g = dz weight, xhat = (x - mean) invstd:  dx = invstd (g - mean(g) - xhat mean(g xhat)), without mean(g) if not
//   CENTRED;  dweight[p] = sum of dz xhat, dbias[p] = sum of dz over the elements that have parameter p
//
//   row_norm_backward   dx, and partial sums for dweight and dbias
//   row_norm_finish     adds the partial sums in order
//
// Mapping and copies ahead as in row_norm.cu. With ELEMENTS each thread adds up the parameters of its own columns in registers over all
// the rows that its block takes; at its end the block adds its rows' slots through shared memory, GATHER neighbouring blocks (a cluster,
// each with rows of its own) do so through each other's shared memory, and one row of partial sums is written per cluster. GROUPED slots have
// one group each and write their sums as they are. Without ELEMENTS the sums of a unit are complete with its row: they are written per row
// (and warp of a team).
//
// Bytes per element (S = bytes of the storage type): 3 S, beside weight once per block and 16 per row for its statistics (8 per warp of a row)
// and the partial sums: 8 per parameter written and read, per cluster (ELEMENTS) or sample.
// Registers: held 8 UNITS HELD ROWS (16-byte vectors), sums 2 VECTOR HELD, weight VECTOR HELD if it stays there, about 35 more.
// Sums in f32 in a fixed order; dx does not depend on the grid, dweight and dbias do (rows are dealt to its blocks).
// With an activation dz is rounded to the storage type, as the separate operations round it, and kept in the place of dy: its
// transcendental functions are evaluated once. FAST_MATH as in row_norm.cu.
#include "common/activations.cuh"
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
#ifndef GATHER
#define GATHER 1
#endif
#ifndef FINISH_THREADS
#define FINISH_THREADS 256
#endif

using namespace gpuengine;

using T = DTYPE;
using P = PARAM_DTYPE;
using Row = Packed<T, VECTOR>;

static_assert(GATHER == 1 || CLUSTER == 1, "a launch has one kind of cluster");

constexpr int kSums = CENTRED ? 2 : 1;  // dweight and dbias
constexpr bool kColumnSums = AFFINE && ELEMENTS;
constexpr bool kUnitSums = AFFINE && !ELEMENTS;

struct alignas(8) RowSums {
    float g, g_xhat;
};

// Over the lanes of a warp that have the same lane of other rows.
DEVICE float other_rows_sum(float value) {
#pragma unroll
    for (int step = kRowWidth; step < kWarpSize; step *= 2) value += shuffle_xor(value, step);
    return value;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) row_norm_backward(
    T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* invstd, const P* weight, const P* bias, i64 rows,
    i64 groups, i64 units, i64 vectors) {
    DYNAMIC_SHARED(T, ahead);
    __shared__ RowSums parts[Exchange<RowSums>::kEntries];
    const Place place;
    Exchange<RowSums> exchange(parts);
    const i64 first_parameter = place.first_parameter(groups, units * vectors * VECTOR);
    RowParameters<P> parameters(weight + first_parameter, bias + first_parameter, ahead + STAGES * 2 * ROWS * kVectors * THREADS * VECTOR);
    const i64 stride = place.stride(), row_length = units * vectors * VECTOR;
    const float share = 1.0f / static_cast<float>(row_length);
    const auto row_at = [&](i64 base, int r) { return base + r * kSlots + place.slot; };
    const auto staged = [&](int stage, int tensor, int r, int j) {
        return ahead + ((((stage * 2 + tensor) * ROWS + r) * kVectors + j) * THREADS + threadIdx.x) * VECTOR;
    };

    Row held_dy[ROWS][kVectors], held_x[ROWS][kVectors];
    const auto fetch = [&](i64 base, int stage) {  // into registers where there are no stages
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const i64 row = row_at(base, r);
#pragma unroll
            for (int j = 0; j < kVectors; ++j) {
                if (STAGES == 0) held_dy[r][j] = held_x[r][j] = Row::zero();
                if (row >= rows || !place.has(j / HELD, j % HELD, units, vectors)) continue;
                const i64 at = row * row_length + place.offset(j / HELD, j % HELD, vectors);
                if constexpr (STAGES == 0) {
                    load_packed<true>(held_dy[r][j], dy + at);
                    load_packed<true>(held_x[r][j], x + at);
                } else {
                    async_copy<VECTOR>(staged(stage, 0, r, j), dy + at);
                    async_copy<VECTOR>(staged(stage, 1, r, j), x + at);
                }
            }
        }
        if (STAGES > 0) async_commit();
    };
    // The statistics of the next rows: the first lane of a row's warps reads them one turn ahead.
    float next_mean[ROWS], next_scale[ROWS];
    const auto fetch_statistics = [&](i64 base) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const bool reads = row_at(base, r) < rows && lane_index() % kRowWidth == 0;
            next_mean[r] = CENTRED && reads ? mean[row_at(base, r)] : 0.0f;
            next_scale[r] = reads ? invstd[row_at(base, r)] : 0.0f;
        }
    };
    fetch_statistics(place.start());
    if constexpr (STAGES == 0) fetch(place.start(), 0);
    for (int s = 0; s < STAGES; ++s) fetch(place.start() + s * stride, s);
    parameters.keep(place, vectors);
    exchange.begin();

    Vec<float, VECTOR> dweight[kColumnSums ? HELD : 1], dbias[kColumnSums && CENTRED ? HELD : 1];
#pragma unroll
    for (int h = 0; h < (kColumnSums ? HELD : 0); ++h) {
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) {
            dweight[h][e] = 0.0f;
            if (CENTRED) dbias[CENTRED ? h : 0][e] = 0.0f;
        }
    }

    int stage = 0;
    for (i64 base = place.start(); base < rows; base += stride) {
        float middle[ROWS], scale[ROWS], origin[ROWS];  // origin: xhat of 0
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            middle[r] = CENTRED ? __shfl_sync(kFullMask, next_mean[r], 0, kRowWidth) : 0.0f;
            scale[r] = __shfl_sync(kFullMask, next_scale[r], 0, kRowWidth);
            origin[r] = -middle[r] * scale[r];
            parameters.read_units(place, r, static_cast<u32>(row_at(base, r)) % static_cast<u32>(groups) * units, units, row_at(base, r) < rows);
        }
        fetch_statistics(base + stride);
        if constexpr (STAGES > 0) {
            async_wait<STAGES - 1>();
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
#pragma unroll
                for (int j = 0; j < kVectors; ++j) {
                    held_dy[r][j] = held_x[r][j] = Row::zero();
                    if (row_at(base, r) >= rows || !place.has(j / HELD, j % HELD, units, vectors)) continue;
                    load_packed<false>(held_dy[r][j], staged(stage, 0, r, j));
                    load_packed<false>(held_x[r][j], staged(stage, 1, r, j));
                }
            }
        }
        // In f32 the difference keeps digits of a small deviation from a large mean; in bf16 x has none.
        const auto xhat_of = [&](int r, int j, int e) {
            return sizeof(T) == 4 ? (held_x[r][j][e] - middle[r]) * scale[r] : held_x[r][j][e] * scale[r] + origin[r];
        };
        RowSums own[ROWS];
        float unit_dz[ROWS][UNITS], unit_dz_xhat[ROWS][UNITS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            own[r] = RowSums{0.0f, 0.0f};
#pragma unroll
            for (int k = 0; k < UNITS; ++k) unit_dz[r][k] = unit_dz_xhat[r][k] = 0.0f;
        }
#pragma unroll
        for (int j = 0; j < kVectors; ++j) {
            const int k = j / HELD, h = j % HELD;
            if (!place.has(k, h, units, vectors)) continue;
            Vec<float, VECTOR> w, b;
            parameters.get(place, h, w, b);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                if (row_at(base, r) >= rows) continue;
                const auto weight_of = [&](int e) { return !AFFINE ? 1.0f : ELEMENTS ? w[e] : parameters.unit_weight[r][k]; };
                const auto gradient = [&](int e) {
                    const float xhat = xhat_of(r, j, e);
                    const float shift = !WITH_BIAS ? 0.0f : ELEMENTS ? b[e] : parameters.unit_bias[r][k];
                    const float z = !AFFINE ? xhat : WITH_BIAS ? xhat * weight_of(e) + shift : xhat * weight_of(e);
                    return held_dy[r][j][e] * CompiledActivation::derivative(z);
                };
#pragma unroll
                for (int i = 0; i < (kHasActivation ? Row::kWords : 0); ++i)
                    held_dy[r][j].set_word(i, gradient(i * Row::kPerWord), gradient(i * Row::kPerWord + Row::kPerWord - 1));
                float g_sum = 0.0f, g_xhat_sum = 0.0f;
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) {
                    const float wt = weight_of(e), dz = held_dy[r][j][e], dz_xhat = dz * xhat_of(r, j, e);
                    if (kColumnSums) {
                        dweight[kColumnSums ? h : 0][e] += dz_xhat;
                        if (CENTRED) dbias[kColumnSums && CENTRED ? h : 0][e] += dz;
                        g_sum += dz * wt;
                        g_xhat_sum += dz_xhat * wt;
                    } else {
                        g_sum += dz;
                        g_xhat_sum += dz_xhat;
                    }
                }
                if (kColumnSums) {
                    own[r].g += g_sum;
                    own[r].g_xhat += g_xhat_sum;
                } else {
                    unit_dz[r][k] += g_sum;
                    unit_dz_xhat[r][k] += g_xhat_sum;
                }
            }
        }
        // The registers have what was staged: the place is free.
        if constexpr (STAGES > 0) {
            fetch(base + STAGES * stride, stage);
            stage = stage + 1 < STAGES ? stage + 1 : 0;
        }
        if constexpr (!kColumnSums) {
            constexpr int parts_of_team = TEAM / kTeamWidth;
            const i64 all = groups * units;
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const i64 row = row_at(base, r);
                const u32 sample = static_cast<u32>(row) / static_cast<u32>(groups), group = static_cast<u32>(row) - sample * static_cast<u32>(groups);
#pragma unroll
                for (int k = 0; k < UNITS; ++k) {
                    const float wt = kUnitSums ? parameters.unit_weight[r][k] : 1.0f;
                    own[r].g += unit_dz[r][k] * wt;
                    own[r].g_xhat += unit_dz_xhat[r][k] * wt;
                    if (!kUnitSums) continue;
                    const float dz = warp_sum<kTeamWidth>(unit_dz[r][k]), dz_xhat = warp_sum<kTeamWidth>(unit_dz_xhat[r][k]);
                    if (row >= rows || place.member % kTeamWidth != 0 || place.unit(k) >= units) continue;
                    float* const to = partial + (sample * parts_of_team + place.member / kTeamWidth) * kSums * all + group * units + place.unit(k);
                    to[0] = dz_xhat;
                    if (CENTRED) to[all] = dz;
                }
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            own[r].g = CENTRED ? row_warp_sum(own[r].g) : 0.0f;
            own[r].g_xhat = row_warp_sum(own[r].g_xhat);
        }
        if constexpr (kParts > 1) {
            exchange.put(place, own);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const RowSums* const sums = exchange.row(place, r);
                own[r] = RowSums{0.0f, 0.0f};
                for (int i = lane_index() % kPartsWidth; i < kParts; i += kPartsWidth) {
                    own[r].g += sums[i].g;
                    own[r].g_xhat += sums[i].g_xhat;
                }
                own[r].g = CENTRED ? warp_sum<kPartsWidth>(own[r].g) : 0.0f;
                own[r].g_xhat = warp_sum<kPartsWidth>(own[r].g_xhat);
            }
            exchange.next();
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
                const float offset_g = own[r].g * share * scale[r], factor = own[r].g_xhat * share * scale[r];
                const auto result = [&](int e) {
                    const float xhat = xhat_of(r, j, e);
                    const float wt = !AFFINE ? 1.0f : ELEMENTS ? w[e] : parameters.unit_weight[r][k];
                    return held_dy[r][j][e] * wt * scale[r] - (xhat * factor + offset_g);
                };
                Row out;
#pragma unroll
                for (int i = 0; i < Row::kWords; ++i) out.set_word(i, result(i * Row::kPerWord), result(i * Row::kPerWord + Row::kPerWord - 1));
                if (STAGES == 0) {
                    held_dy[r][j] = held_x[r][j] = Row::zero();
                    if (next < rows) {
                        load_packed<true>(held_dy[r][j], dy + next * row_length + offset);
                        load_packed<true>(held_x[r][j], x + next * row_length + offset);
                    }
                }
                store_packed<false>(dx + at * row_length + offset, out);
            }
        }
    }
    if constexpr (STAGES > 0) async_wait<0>();
    if constexpr (kColumnSums) {
        constexpr int copies = LANES < kWarpSize ? THREADS / kWarpSize : kSlots;
        const i64 columns = vectors * VECTOR;
        // Where the sums of a slot go that does not share its columns with others of the block.
        const i64 slot = static_cast<i64>(blockIdx.x / CLUSTER) * kSlots + place.slot, all = GROUPED ? groups * columns : columns;
        float* const to = partial + (GROUPED ? slot / groups : slot) * kSums * all + first_parameter;
        const auto which = [&](int s, int h) -> const Vec<float, VECTOR>& { return s == 0 ? dweight[h] : dbias[CENTRED ? h : 0]; };
        if constexpr (GROUPED || (copies == 1 && GATHER == 1)) {
#pragma unroll
            for (int h = 0; h < HELD; ++h) {
                if (!place.has(0, h, 1, vectors)) continue;
#pragma unroll
                for (int s = 0; s < kSums; ++s) store(to + s * all + place.vector(h) * VECTOR, which(s, h));
            }
            return;
        }
        // [copy][sum][column], in the place of what was copied ahead and of the parameters.
        float* const sums = reinterpret_cast<float*>(ahead);
        const int copy = LANES < kWarpSize ? warp_index() : place.slot;
        __syncthreads();
#pragma unroll
        for (int h = 0; h < HELD; ++h) {
#pragma unroll
            for (int s = 0; s < kSums; ++s) {
                Vec<float, VECTOR> v = which(s, h);
#pragma unroll
                for (int e = 0; e < VECTOR; ++e) v[e] = other_rows_sum(v[e]);
                if (lane_index() < kRowWidth && place.has(0, h, 1, vectors)) store(sums + (copy * kSums + s) * columns + place.vector(h) * VECTOR, v);
            }
        }
        if (GATHER > 1) cluster_sync();
        else __syncthreads();
        const u32 rank = GATHER > 1 ? cluster_rank() : 0;
        for (i64 c = rank * THREADS + threadIdx.x; c < kSums * columns; c += GATHER * THREADS) {
            float total = 0.0f;
            for (u32 q = 0; q < GATHER; ++q) {
                const float* const from = GATHER > 1 ? cluster_map(sums, q) : sums;
                for (int i = 0; i < copies; ++i) total += from[i * kSums * columns + c];
            }
            partial[static_cast<i64>(blockIdx.x / GATHER) * kSums * columns + c] = total;
        }
        if (GATHER > 1) cluster_sync();  // nobody ends while another block reads its memory
    }
}

// partial is [rows, kSums, parameters]. A block has 32 columns; its warps take the rows in turn.
extern "C" __global__ void __launch_bounds__(FINISH_THREADS) row_norm_finish(
    float* dweight, float* dbias, const float* partial, i64 rows, i64 parameters) {
    constexpr int warps = FINISH_THREADS / kWarpSize, batch = 8;
    __shared__ float sums[warps][kWarpSize];
    const i64 columns = kSums * parameters, column = static_cast<i64>(blockIdx.x) * kWarpSize + lane_index();
    float total = 0.0f;
    for (i64 row = warp_index(); row < rows; row += warps * batch) {
        float v[batch];
#pragma unroll
        for (int i = 0; i < batch; ++i) v[i] = column < columns && row + i * warps < rows ? partial[(row + i * warps) * columns + column] : 0.0f;
#pragma unroll
        for (int i = 0; i < batch; ++i) total += v[i];
    }
    sums[warp_index()][lane_index()] = total;
    __syncthreads();
    if (warp_index() != 0 || column >= columns) return;
    total = 0.0f;
    for (int w = 0; w < warps; ++w) total += sums[w][lane_index()];
    (column < parameters ? dweight[column] : dbias[column - parameters]) = total;
}
