// Order between the blocks of a grid: a barrier for cooperative launches, and "the last block goes on" for any launch.
// Both use one u32 in global memory that is zero before the first use and needs no reset after: a replayed graph can
// use it again.
#pragma once
#include "platform.cuh"

namespace gpuengine {

DEVICE u32 load_volatile(const u32* p) { return *static_cast<const volatile u32*>(p); }

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
        while (((before ^ load_volatile(counter)) & 0x80000000u) == 0) {
        }
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

// The same for all blocks of the grid.
DEVICE bool is_last_block(u32* counter) { return is_last_block(counter, grid_blocks()); }

}  // namespace gpuengine
