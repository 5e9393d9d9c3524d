// Order between the blocks of a grid: barriers for cooperative launches, and "the last block goes on" for any launch.
// All use u32s in global memory that are zero before the first use and need no reset after: a replayed graph can
// use them again.
#pragma once
#include "platform.cuh"

namespace gpuengine {

DEVICE u32 load_volatile(const u32* p) { return *static_cast<const volatile u32*>(p); }

// One turn of a spinning loop. The simulator sees loads only when it checks them; unchecked, it must be told to let others run.
DEVICE void spin() {
#ifdef __CUDASIM__
    __nanosleep(0);
#endif
}

// All threads of all blocks call; the launch must be cooperative. The top bit of the counter turns over once per
// barrier: block 0 adds what is missing to it, the others add one each.
DEVICE void grid_sync(u32* counter) {
#ifdef __CUDASIM__
    cudasim_grid_barrier_used();
#endif
    __syncthreads();
    if (thread_rank() == 0) {
        __threadfence();
        const u32 before = atomicAdd(counter, block_rank() == 0 ? 0x80000000u - (grid_blocks() - 1) : 1u);
        while (((before ^ load_volatile(counter)) & 0x80000000u) == 0) spin();
        __threadfence();
    }
    __syncthreads();
}

// True in all threads of the block that calls last of those `blocks` that share the counter; what the others wrote before
// calling is visible there.
DEVICE bool is_last_block(u32* counter, u32 blocks) {
    __shared__ bool last;
    __syncthreads();
    if (thread_rank() == 0) {
        __threadfence();
        last = atomicInc(counter, blocks - 1) == blocks - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// A barrier between some blocks of a cooperative launch at which the last to arrive does something for all before it opens:
//     if (gate.arrive(blocks)) { ...; gate.open(); } else { gate.wait(); }
// What the last wrote before opening is visible to all after waiting. Those who wait and those who arrive have cache lines of their own.
//
// Groups of blocks that work alike, each at a gate of its own, would all wait at the same time. Where they take turns to begin, each being
// called when the one before first arrives, some have the memory while others wait.
constexpr int kGateWords = 64;
struct Gate {
    u32* counter;
    u32 before;

    DEVICE explicit Gate(u32* words) : counter(words), before(0) {}
    // All threads of a block that is called once by call(); to begin with.
    DEVICE void wait_turn() const {
        u32* const calls = counter + kGateWords * 3 / 4;
        if (thread_rank() == 0) {
            while (load_volatile(calls) == 0) spin();
            atomicSub(calls, 1u);
        }
        __syncthreads();
    }
    // Lets as many blocks begin that wait at this gate; one thread calls.
    DEVICE static void call(u32* words, u32 blocks) { atomicAdd(words + kGateWords * 3 / 4, blocks); }
    DEVICE bool arrive(u32 blocks) {
#ifdef __CUDASIM__
        cudasim_grid_barrier_used();
#endif
        // It opens only after this block has arrived, so this is the value that it waits to change.
        if (thread_rank() == 0) before = load_volatile(counter + kGateWords / 2);
        return is_last_block(counter, blocks);
    }
    DEVICE void open() const {
        __syncthreads();
        if (thread_rank() == 0) {
            __threadfence();
            atomicAdd(counter + kGateWords / 2, 1u);
        }
    }
    DEVICE void wait() const {
        if (thread_rank() == 0) {
            while (load_volatile(counter + kGateWords / 2) == before) spin();
            __threadfence();
        }
        __syncthreads();
    }
};

// The same for all blocks of the grid.
DEVICE bool is_last_block(u32* counter) { return is_last_block(counter, grid_blocks()); }

}  // namespace gpuengine
