// What every kernel file stands on. Three compilers read these headers: NVRTC (the device), a host C++ compiler (the
// simulator,
// __CUDASIM__ defined) and clang's NVPTX back end (the compile gate). None of them has the CUDA toolkit's headers.
#pragma once

#define DEVICE __device__ __forceinline__

// The block's dynamic shared memory, 16-byte aligned, as an array of `type`.
#define DYNAMIC_SHARED(type, name)                                          \
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory_[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared_memory_)

namespace gpuengine {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i32 = int;
using i64 = long long;

constexpr int kWarpSize = 32;
constexpr u32 kFullMask = 0xffffffffu;

// Threads are numbered x fastest, as warps are formed.
DEVICE int thread_rank() {
    return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
DEVICE int block_threads() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }
DEVICE int lane_index() { return thread_rank() % kWarpSize; }
DEVICE int warp_index() { return thread_rank() / kWarpSize; }
DEVICE u32 block_rank() { return blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z); }
DEVICE u32 grid_blocks() { return gridDim.x * gridDim.y * gridDim.z; }

// i64 because a tensor may have more than 2^31 elements.
DEVICE i64 global_thread() { return static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; }
DEVICE i64 global_threads() { return static_cast<i64>(gridDim.x) * blockDim.x; }

template <class T>
DEVICE constexpr T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}

template <class A, class B>
struct is_same {
    static constexpr bool value = false;
};
template <class A>
struct is_same<A, A> {
    static constexpr bool value = true;
};

}  // namespace gpuengine
