// How the kernels of batch normalisation see x [N, C, length]: slices of channels, each a list of positions of one vector per column.
// PLANES 0 (length 1, rows of channels): WIDTH vectors of VECTOR neighbouring channels side by side make a slice, a row is a position.
// PLANES 1: a slice is one channel, a position is one vector of a plane (WIDTH is 1).
//
// A block takes chunks of kLanes BATCH positions; in each, a thread has one column and BATCH positions: neighbouring rows (so that it has
// the sign bits of whole words), or places of a plane that lie a warp apart. Every warp access is whole lines of WIDTH vectors, or 32
// vectors in a row. Positions, channels and planes are counted in 32 bits (below 2^31: the planners see to it), elements in 64.
#pragma once
#include "packed.cuh"
#include "reduce.cuh"

#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PLANES
#define PLANES 0
#endif
#ifndef WIDTH
#define WIDTH (PLANES ? 1 : 8)
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef BLOCKS  // of a multiprocessor: what registers are allotted for
#define BLOCKS 2
#endif
#ifndef BATCH
#define BATCH 4
#endif

namespace gpuengine {

static_assert(WIDTH >= 1 && WIDTH <= kWarpSize && (WIDTH & (WIDTH - 1)) == 0, "a warp holds whole rows of a slice");
static_assert(!PLANES || WIDTH == 1, "with planes a slice has one channel");
static_assert(THREADS % kWarpSize == 0 && THREADS <= 1024 && (THREADS & (THREADS - 1)) == 0, "a block is whole warps");
static_assert(BATCH == 1 || BATCH == 2 || BATCH == 4, "the sign bits of a batch are one word");

constexpr int kWarps = THREADS / kWarpSize;
constexpr int kLanes = THREADS / WIDTH;                    // threads that share a column
constexpr int kChannels = PLANES ? 1 : VECTOR;             // channels of a thread
constexpr int kSlots = PLANES ? 1 : WIDTH * VECTOR;        // channels of a slice
constexpr int kStep = PLANES ? kWarpSize : 1;              // between the positions of a thread in a chunk
constexpr u32 kChunk = static_cast<u32>(kLanes) * BATCH;   // positions that a block takes at a time
constexpr int kPiece = kChannels < 4 ? kChannels : 4;      // floats of a table that one access takes
constexpr int kSpan = PLANES ? VECTOR : kPiece;            // elements of a vector whose coefficients are one piece

static_assert(kSlots <= THREADS, "a slot has a thread");

// n / d for n < 2^31 by one multiplication (Granlund and Montgomery 1994, with a multiplier rounded up).
struct Divider {
    u32 divisor, factor, shift;
    DEVICE explicit Divider(u32 d) : divisor(d), factor(0), shift(0) {
        if (d <= 1) return;
        const int bits = 32 - __clz(static_cast<int>(d - 1));
        factor = static_cast<u32>(((1ull << (31 + bits)) + d - 1) / d);
        shift = static_cast<u32>(bits - 1);
    }
    DEVICE u32 operator()(u32 n) const { return divisor <= 1 ? n : __umulhi(n, factor) >> shift; }
};

// Where a thread's data is.
struct Layout {
    u32 channels, length, positions;  // positions of a channel
    u32 first;                        // the thread's first position in a chunk
    int column;
    Divider planes;

    DEVICE Layout(i64 n, i64 c, i64 l)
        : channels(static_cast<u32>(c)), length(static_cast<u32>(l)), planes(PLANES ? static_cast<u32>(l / VECTOR) : 1) {
        const int thread = static_cast<int>(threadIdx.x);
        column = thread % WIDTH;
        first = static_cast<u32>(PLANES ? thread / kWarpSize * kWarpSize * BATCH + thread % kWarpSize : thread / WIDTH * BATCH);
        positions = static_cast<u32>(PLANES ? n * (l / VECTOR) : n);
    }
    DEVICE u32 slices() const { return ceil_div(channels, static_cast<u32>(kSlots)); }
    // The thread's first channel of a slice; beyond the channels in the last slice's empty columns.
    DEVICE u32 channel(u32 slice) const { return PLANES ? slice : (slice * WIDTH + static_cast<u32>(column)) * VECTOR; }
    // The channel of thread t < kSlots when it speaks for slot t.
    DEVICE u32 slot_channel(u32 slice, u32 thread) const {
        const u32 slot = thread % kSlots;
        return slice * kSlots + (PLANES ? 0 : slot / kPiece % WIDTH * VECTOR + slot / (WIDTH * kPiece) * kPiece + slot % kPiece);
    }
    DEVICE i64 offset(u32 position, u32 channel) const {
        if (!PLANES) return static_cast<i64>(static_cast<u64>(position) * channels + channel);
        const u32 plane = planes(position), place = (position - plane * planes.divisor) * VECTOR;
        return static_cast<i64>(static_cast<u64>(plane * channels + channel) * length + place);
    }
    // How many of the BATCH positions from `position` on lie before `end`.
    DEVICE static int valid(u32 position, u32 end) {
        return position >= end ? 0 : min(BATCH, static_cast<int>((end - position + kStep - 1) / kStep));
    }
    // Elements of a channel in so many positions.
    DEVICE static float elements(u32 count) { return static_cast<float>(count) * (PLANES ? VECTOR : 1); }
};

// Values per channel of a slice lie in shared memory by slots, so that the columns' pieces of 4 are neighbours: no bank conflicts.
DEVICE Vec<float, kPiece> piece_of(const float* table, int column, int piece) {
    return load<kPiece>(table + piece * WIDTH * kPiece + column * kPiece);
}
DEVICE void store_slots(float* table, int column, const float (&values)[kChannels]) {
#pragma unroll
    for (int piece = 0; piece < kChannels / kPiece; ++piece) {
        Vec<float, kPiece> v;
#pragma unroll
        for (int i = 0; i < kPiece; ++i) v[i] = values[piece * kPiece + i];
        store(table + piece * WIDTH * kPiece + column * kPiece, v);
    }
}

// The positions of a batch, zero beyond the first n; `Again` says that they will be read again, and should stay in the L2 cache.
template <bool Again = false, class T>
DEVICE void load_batch(Packed<T, VECTOR> (&v)[BATCH], const T* from, const Layout& at, u32 channel, u32 position, int n) {
#pragma unroll
    for (int j = 0; j < BATCH; ++j) {
        v[j] = Packed<T, VECTOR>::zero();
        if (j < n) load_packed<!Again>(v[j], from + at.offset(position + j * kStep, channel));
    }
}
template <bool Again = false, class T>
DEVICE void store_batch(T* to, const Packed<T, VECTOR> (&v)[BATCH], const Layout& at, u32 channel, u32 position, int n) {
#pragma unroll
    for (int j = 0; j < BATCH; ++j)
        if (j < n) store_packed<!Again>(to + at.offset(position + j * kStep, channel), v[j]);
}

// A batch in shared memory, where thread t has the t-th vector of each row of the block's vectors; `own` shows its first one.
template <class T>
DEVICE T* held_at(T* own, u32 batch, int j) {
    return own + (batch * BATCH + static_cast<u32>(j)) * (THREADS * VECTOR);
}
template <class T>
DEVICE void load_held(Packed<T, VECTOR> (&v)[BATCH], T* own, u32 batch, int n) {
#pragma unroll
    for (int j = 0; j < BATCH; ++j) {
        v[j] = Packed<T, VECTOR>::zero();
        if (j < n) load_packed<false>(v[j], held_at(own, batch, j));
    }
}

// What the warps of a block, or the parts of a list of partial rows, exchange: two values per channel.
struct Exchange {
    alignas(16) float first[kWarps][kSlots];
    alignas(16) float second[kWarps][kSlots];
    float counts[kWarps];
};

// Over the lanes of a warp that share a column.
DEVICE float column_sum(float value) {
#pragma unroll
    for (int step = WIDTH; step < kWarpSize; step *= 2) value += shuffle_xor(value, step);
    return value;
}

// Two sums per slot over the threads of a block, of which thread t has values of slot t % kSlots, in a fixed order; those of slot t go to
// thread t. The exchange must be free before, and is after the next barrier.
DEVICE void sum_slots(float& a, float& b, Exchange& exchange) {
    constexpr bool in_warp = kSlots < kWarpSize;
    constexpr int rows = in_warp ? kWarps : THREADS / kSlots;
    const u32 thread = opaque(threadIdx.x);
#pragma unroll
    for (int step = kSlots; step < kWarpSize; step *= 2) {
        a += shuffle_xor(a, step);
        b += shuffle_xor(b, step);
    }
    if (!in_warp || thread % kWarpSize < kSlots) {
        const u32 row = thread / (in_warp ? kWarpSize : kSlots);
        exchange.first[row][thread % kSlots] = a;
        exchange.second[row][thread % kSlots] = b;
    }
    __syncthreads();
    a = b = 0.0f;
    if (thread >= kSlots) return;
#pragma unroll
    for (int row = 0; row < rows; ++row) {
        a += exchange.first[row][thread];
        b += exchange.second[row][thread];
    }
}

}  // namespace gpuengine
