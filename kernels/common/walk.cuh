// How element-wise kernels share x [outer, channels, length], contiguous, when channels have numbers of their own or sums are
// taken over them, in vectors of VECTOR elements.
//
//   LAYOUT 0, flat     no channels: the grid strides over all vectors; the rest of a count that VECTOR does not divide is left to
//                      the kernel
//   LAYOUT 1, columns  length is 1, VECTOR divides channels: GROUPS neighbouring threads have a row's GROUPS * VECTOR channels,
//                      a thread keeps its channels and goes down the rows: block x is the slice of channels, y the piece of rows
//   LAYOUT 2, planes   VECTOR divides length: block x is the channel, y the piece of its outer * length / VECTOR vectors
//
// A thread takes UNROLL vectors at a time, all loaded before the first is used. Sums of a channel: in the thread by rows, over
// the block by a tree, over pieces by the last block of the slice, in the order of the pieces: they depend on the shape and the
// piece alone. No atomics but the counter of pieces that are done.
#pragma once
#include "grid.cuh"
#include "reduce.cuh"
#include "vector.cuh"

#ifndef LAYOUT
#define LAYOUT 0
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef GROUPS
#define GROUPS 8
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef UNROLL
#define UNROLL 2
#endif
#ifndef ALIGNED  // 0: tensors may start anywhere; flat only
#define ALIGNED 1
#endif

namespace gpuengine {

static_assert(LAYOUT >= 0 && LAYOUT <= 2, "flat, columns or planes");
static_assert(GROUPS >= 1 && GROUPS <= kWarpSize && (GROUPS & (GROUPS - 1)) == 0, "a warp holds whole rows of a slice");
static_assert(THREADS % kWarpSize == 0 && THREADS <= 1024, "a block is whole warps");
static_assert(ALIGNED || LAYOUT == 0, "columns and planes of unaligned tensors have vectors of one element");

constexpr int kGroups = LAYOUT == 1 ? GROUPS : 1;
constexpr int kLanes = THREADS / kGroups;       // threads that share channels
constexpr int kOwn = LAYOUT == 1 ? VECTOR : 1;  // channels of a thread

// Which of the thread's channels element e of a vector belongs to.
DEVICE constexpr int own_channel(int e) { return LAYOUT == 1 ? e : 0; }

struct Walk {
    i64 channel;  // the first of the thread's
    i64 channels;
    bool valid;  // the last slice may reach beyond the channels
    int group, lane;

    DEVICE Walk(i64 outer, i64 all_channels, i64 length, i64 piece) : channels(all_channels) {
        group = static_cast<int>(threadIdx.x) % kGroups;
        lane = static_cast<int>(threadIdx.x) / kGroups;
        if (LAYOUT == 0) {
            channel = 0;
            valid = true;
            position = global_thread();
            end = outer * channels * length / VECTOR;
            step = global_threads();
            offset = position * VECTOR;
            stride = step * VECTOR;
            return;
        }
        position = static_cast<i64>(blockIdx.y) * piece + lane;
        step = kLanes;
        if (LAYOUT == 1) {
            channel = (static_cast<i64>(blockIdx.x) * kGroups + group) * VECTOR;
            valid = channel < channels;
            end = outer;
            offset = position * channels + channel;
            stride = step * channels;
        } else {
            channel = blockIdx.x;
            valid = true;
            places = static_cast<u32>(length / VECTOR);
            end = outer * places;
            // Fewer than 2^31 vectors per channel, so that one short division is enough.
            const u32 row = static_cast<u32>(position) / places, rows = static_cast<u32>(kLanes) / places;
            place = static_cast<u32>(position) % places;
            place_step = static_cast<u32>(kLanes) % places;
            offset = (row * channels + channel) * length + static_cast<i64>(place) * VECTOR;
            stride = rows * channels * length + static_cast<i64>(place_step) * VECTOR;
            wrap = (channels - 1) * length;
        }
        const i64 stop = (static_cast<i64>(blockIdx.y) + 1) * piece;
        end = !valid ? 0 : stop < end ? stop : end;
    }

    DEVICE bool more() const { return position < end; }

    // The offset of the next vector, or -1 where there is none.
    DEVICE i64 next() {
        const i64 at = position < end ? offset : -1;
        position += step;
        offset += stride;
        if (LAYOUT == 2) {
            place += place_step;
            if (place >= places) {
                place -= places;
                offset += wrap;
            }
        }
        return at;
    }

    // The thread that writes the results of its channels.
    DEVICE bool leads() const { return valid && lane == 0; }

private:
    i64 position, end, step, offset, stride, wrap = 0;
    u32 place = 0, place_step = 0, places = 1;
};

// A vector in one access, or where tensors may start anywhere, element by element.
template <class T>
DEVICE Vec<T, VECTOR> read(const T* from) {
    if (ALIGNED) return load<VECTOR>(from);
    Vec<T, VECTOR> v;
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) v[e] = from[e];
    return v;
}

template <class T>
DEVICE void write(T* to, const Vec<T, VECTOR>& v) {
    if (ALIGNED) {
        store(to, v);
        return;
    }
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) to[e] = v[e];
}

// The numbers of the thread's channels, from K tensors [channels]; all threads call. Read once per block (columns, through shared
// memory) or warp (planes). To be called when the first vectors are on their way, so that the two waits are one.
template <int K, class T>
DEVICE void channel_values(Vec<float, kOwn> (&values)[K], const T* const (&from)[K], const Walk& walk) {
    if (LAYOUT == 1) {
        __shared__ float staged[K][kOwn][kGroups];
        if (walk.leads()) {
#pragma unroll
            for (int k = 0; k < K; ++k) {
#pragma unroll
                for (int c = 0; c < kOwn; ++c) staged[k][c][walk.group] = to_float(from[k][walk.channel + c]);
            }
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < K; ++k) {
#pragma unroll
            for (int c = 0; c < kOwn; ++c) values[k][c] = walk.valid ? staged[k][c][walk.group] : 0.0f;
        }
    } else {
#pragma unroll
        for (int k = 0; k < K; ++k)
            values[k][0] = __shfl_sync(kFullMask, lane_index() == 0 ? to_float(from[k][walk.channel]) : 0.0f, 0);
    }
}

// K sums of type S per channel over the threads of the block that share it, in a fixed order; right in the leading threads.
template <int K, class S>
DEVICE void block_channel_sums(S (&sums)[K][kOwn]) {
    __shared__ S partial[THREADS / kWarpSize][K][kOwn][kGroups];
    const int lane = lane_index(), group = lane % kGroups;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
        for (int c = 0; c < kOwn; ++c) {
#pragma unroll
            for (int step = kGroups; step < kWarpSize; step *= 2) sums[k][c] += shuffle_xor(sums[k][c], step);
            if (lane < kGroups) partial[warp_index()][k][c][group] = sums[k][c];
        }
    }
    __syncthreads();
    if (threadIdx.x < kGroups) {
#pragma unroll
        for (int k = 0; k < K; ++k) {
#pragma unroll
            for (int c = 0; c < kOwn; ++c) {
                sums[k][c] = partial[0][k][c][group];
#pragma unroll
                for (int w = 1; w < THREADS / kWarpSize; ++w) sums[k][c] += partial[w][k][c][group];
            }
        }
    }
    __syncthreads();
}

// K sums per channel over the whole tensor. All threads call; true in the threads that hold results and write them. With more
// than one piece, `partial` takes [pieces, K, channels] and `counters` one u32 per slice or channel (grid.cuh).
template <int K, class S>
DEVICE bool channel_sums(S (&sums)[K][kOwn], const Walk& walk, S* partial, u32* counters) {
    block_channel_sums(sums);
    const i64 pieces = gridDim.y;
    if (pieces == 1) return walk.leads();
    if (walk.leads()) {
#pragma unroll
        for (int k = 0; k < K; ++k) {
            Vec<S, kOwn> own;
#pragma unroll
            for (int c = 0; c < kOwn; ++c) own[c] = sums[k][c];
            store(partial + (blockIdx.y * K + k) * walk.channels + walk.channel, own);
        }
    }
    if (!is_last_block(counters + blockIdx.x, static_cast<u32>(pieces))) return false;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
        for (int c = 0; c < kOwn; ++c) sums[k][c] = S(0);
    }
    // Pieces are dealt to the threads that share a channel, so that all are on their way at once.
    for (i64 piece = walk.lane; walk.valid && piece < pieces; piece += kLanes) {
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const auto own = load<kOwn>(partial + (piece * K + k) * walk.channels + walk.channel);
#pragma unroll
            for (int c = 0; c < kOwn; ++c) sums[k][c] += own[c];
        }
    }
    block_channel_sums(sums);
    return walk.leads();
}

}  // namespace gpuengine
