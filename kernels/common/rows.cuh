// How threads share the rows that a norm is taken over. A row has `units` units of `vectors` vectors of VECTOR elements: a channel's
// places under group_norm; under layer_norm (ELEMENTS) one unit that is the row. kLanes threads take a row: LANES of each of CLUSTER
// blocks; TEAM of them share a unit. Thread `lane` has units lane / TEAM + k kTeams and of each the vectors lane % TEAM + h TEAM:
// neighbouring lanes read neighbouring vectors. A block takes kSlots rows side by side, each thread ROWS rows in a row.
#pragma once
#include "async_copy.cuh"
#include "cluster.cuh"
#include "packed.cuh"

#ifndef THREADS
#define THREADS 256
#endif
#ifndef BLOCKS  // blocks that one multiprocessor is to hold: what registers are allotted for
#define BLOCKS 1
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef LANES
#define LANES 32
#endif
#ifndef CLUSTER
#define CLUSTER 1
#endif
#ifndef TEAM
#define TEAM (LANES * CLUSTER)
#endif
#ifndef ROWS
#define ROWS 1
#endif
#ifndef UNITS  // units that a thread has a part of, and of each so many vectors
#define UNITS 1
#endif
#ifndef HELD
#define HELD 4
#endif
#ifndef RAGGED  // the last vector of a thread may be missing
#define RAGGED 1
#endif
#ifndef RAGGED_UNITS  // the last unit of a thread may be missing
#define RAGGED_UNITS 0
#endif
#ifndef ELEMENTS
#define ELEMENTS 1
#endif
#ifndef GROUPED  // with ELEMENTS: rows take the parameters of `groups` groups in turn; every slot of a block stays with one of them
#define GROUPED 0
#endif
#ifndef STAGES  // sets of rows that are copied ahead into shared memory; 0: the next one is loaded as the registers become free
#define STAGES 0
#endif

namespace gpuengine {

constexpr int kLanes = LANES * CLUSTER;
constexpr int kTeams = kLanes / TEAM;
constexpr int kSlots = THREADS / LANES;
constexpr int kRowWidth = LANES < kWarpSize ? LANES : kWarpSize;     // lanes of a warp that share a row
constexpr int kRowWarps = LANES < kWarpSize ? 1 : LANES / kWarpSize;  // warps of a block that share a row
constexpr int kParts = kRowWarps * CLUSTER;                           // warps that share a row
constexpr int kTeamWidth = TEAM < kWarpSize ? TEAM : kWarpSize;
constexpr int kVectors = UNITS * HELD;  // of a thread, in one row

static_assert(THREADS % LANES == 0 && THREADS % kWarpSize == 0, "a block is whole rows and whole warps");
static_assert((LANES & (LANES - 1)) == 0 || LANES % kWarpSize == 0, "a row is a power of two of lanes or whole warps");
static_assert(!GROUPED || (ELEMENTS && ROWS == 1 && CLUSTER == 1), "a slot has one group");
static_assert(CLUSTER == 1 || LANES == THREADS, "a cluster shares one row");
static_assert(kLanes % TEAM == 0 && ((TEAM & (TEAM - 1)) == 0 || TEAM % kWarpSize == 0), "as for rows");

// Of a thread.
struct Place {
    int slot, lane, team, member;
    u32 rank;
    DEVICE Place() {
        const int t = static_cast<int>(threadIdx.x);
        rank = CLUSTER > 1 ? cluster_rank() : 0;
        slot = t / LANES;
        lane = t % LANES + static_cast<int>(rank) * LANES;
        team = lane / TEAM;
        member = lane % TEAM;
    }
    // The first row of this block's cluster, and the rows that all of them take before it takes its next ones.
    DEVICE i64 start() const { return static_cast<i64>(blockIdx.x / CLUSTER) * kSlots * ROWS; }
    DEVICE i64 stride() const { return static_cast<i64>(gridDim.x / CLUSTER) * kSlots * ROWS; }
    // Where the parameters of the slot's rows start: rows are dealt so that all have the same group (GROUPED), or that of no group.
    DEVICE i64 first_parameter(i64 groups, i64 length) const {
        return GROUPED ? static_cast<u32>(start() + slot) % static_cast<u32>(groups) * length : 0;
    }
    DEVICE int unit(int k) const { return team + k * kTeams; }
    DEVICE i64 vector(int h) const { return member + h * TEAM; }
    // Whether the thread has vector h of its unit k.
    DEVICE bool has(int k, int h, i64 units, i64 vectors) const {
        return (!RAGGED_UNITS || k < UNITS - 1 || unit(k) < units) && (!RAGGED || h < HELD - 1 || vector(h) < vectors);
    }
    // Where vector h of unit k starts in its row.
    DEVICE i64 offset(int k, int h, i64 vectors) const { return (unit(k) * vectors + vector(h)) * VECTOR; }
};

// Over the lanes of a warp that share a row.
DEVICE float row_warp_sum(float value) { return warp_sum<kRowWidth>(value); }

// One value of type V per warp of a row, given to all warps of the row. Values of the next call lie elsewhere, so that one barrier
// per call is enough: whoever writes a place again has passed the barrier behind its last reader. All threads call; with
// clusters, begin() before the first call.
template <class V>
struct Exchange {
    V* own;
    u32 turn;

    // V is a vector of floats: two turns of every row.
    static constexpr int kEntries = 2 * kSlots * ROWS * kParts;

    DEVICE explicit Exchange(V* memory) : own(memory), turn(0) {}
    DEVICE void begin() {
        if (CLUSTER > 1) cluster_sync();
    }
    DEVICE int index(int slot, int row, int part) const { return ((static_cast<int>(turn) * kSlots + slot) * ROWS + row) * kParts + part; }
    // Every thread has its warp's value.
    DEVICE void put(const Place& place, const V (&values)[ROWS]) {
        const int lane = lane_index(), warp = static_cast<int>(threadIdx.x) % LANES / kWarpSize;
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const int at = index(place.slot, r, static_cast<int>(place.rank) * kRowWarps + warp);
            if (CLUSTER > 1) {
                if (lane < CLUSTER) *cluster_map(own + at, lane) = values[r];
            } else if (lane == 0) {
                own[at] = values[r];
            }
        }
        if (CLUSTER > 1) cluster_sync();
        else __syncthreads();
    }
    DEVICE const V* row(const Place& place, int r) const { return own + index(place.slot, r, 0); }
    DEVICE void next() { turn ^= 1; }
};

// Lanes over which values of kParts warps are added: every group of so many lanes has all of them.
constexpr int parts_width() {
    int width = 1;
    while (width < kParts && width < kWarpSize) width *= 2;
    return width;
}
constexpr int kPartsWidth = parts_width();

}  // namespace gpuengine
