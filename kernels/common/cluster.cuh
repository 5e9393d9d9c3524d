// Thread-block clusters (compute capability 9.0): barrier, shared memory of other blocks, reductions. On older devices
// a cluster is one block and these are the block's own operations.
#pragma once
#include "reduce.cuh"

#if defined(__CUDASIM__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
#define GPUENGINE_HAS_CLUSTERS 1
#else
#define GPUENGINE_HAS_CLUSTERS 0
#endif

namespace gpuengine {

DEVICE u32 cluster_rank() {
#if defined(__CUDASIM__)
    return cudasim_cluster_rank();
#elif GPUENGINE_HAS_CLUSTERS
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
#else
    return 0;
#endif
}

DEVICE u32 cluster_blocks() {
#if defined(__CUDASIM__)
    const auto dim = cudasim_cluster_dim();
    return dim.x * dim.y * dim.z;
#elif GPUENGINE_HAS_CLUSTERS
    u32 blocks;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return blocks;
#else
    return 1;
#endif
}

// Every thread of the cluster arrives once and waits once; what it wrote before arriving is seen by all after the wait.
DEVICE void cluster_arrive() {
#if defined(__CUDASIM__)
    cudasim_cluster_arrive(__LINE__);
#elif GPUENGINE_HAS_CLUSTERS
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

DEVICE void cluster_wait() {
#if defined(__CUDASIM__)
    cudasim_cluster_wait(__LINE__);
#elif GPUENGINE_HAS_CLUSTERS
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __syncthreads();
#endif
}

DEVICE void cluster_sync() {
    cluster_arrive();
    cluster_wait();
}

// The same variable in the shared memory of another block of the cluster. A block may be read only between a cluster
// barrier after it started (or wrote) and one before it ends.
template <class T>
DEVICE T* cluster_map(T* own, u32 rank) {
#if defined(__CUDASIM__)
    return static_cast<T*>(cudasim_map_shared(own, rank));
#elif GPUENGINE_HAS_CLUSTERS
    u64 address;
    asm volatile("mapa.u64 %0, %1, %2;" : "=l"(address) : "l"(reinterpret_cast<u64>(own)), "r"(rank));
    return reinterpret_cast<T*>(address);
#else
    return own;
#endif
}

// Over all threads of the cluster, blocks in rank order; every thread gets the same bits.
template <class T, class Op>
DEVICE T cluster_reduce(T value, Op op, T identity) {
    __shared__ T own;
    value = block_reduce(value, op, identity);
    const u32 blocks = cluster_blocks();
    if (blocks == 1) return value;
    if (thread_rank() == 0) own = value;
    cluster_sync();
    T total = *cluster_map(&own, 0);
    for (u32 rank = 1; rank < blocks; ++rank) total = op(total, *cluster_map(&own, rank));
    cluster_sync();  // nobody ends, or writes again, while another block still reads
    return total;
}

}  // namespace gpuengine
