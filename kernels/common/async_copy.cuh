// Copies from global to shared memory that run while the thread goes on (cp.async, compute capability 8.0): bytes in flight cost no
// registers. What a thread copied it may read itself after copy_wait; other threads need a barrier after that.
#pragma once
#include "vector.cuh"

namespace gpuengine {

// Whether copies of this size exist; others are a load and a store.
template <int Bytes>
constexpr bool kCopiesAsync = Bytes == 4 || Bytes == 8 || Bytes == 16;

// One vector of N elements of T, at most 16 bytes; both addresses are multiples of its size.
template <int N, class T>
DEVICE void copy_async(T* shared, const T* global) {
    constexpr int bytes = static_cast<int>(sizeof(T)) * N;
    static_assert(bytes <= 16, "a copy is one access");
#ifdef __CUDASIM__
    store(shared, load<N>(global));
#else
    u32 to;
    asm volatile("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(to) : "l"(reinterpret_cast<u64>(shared)));
    // 16 bytes pass by the first-level cache: they are used once.
    if constexpr (bytes == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
    else if constexpr (kCopiesAsync<bytes>)
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(bytes) : "memory");
    else store(shared, load<N>(global));
#endif
}

// Closes a group of copies; groups end in order.
DEVICE void copy_commit() {
#ifndef __CUDASIM__
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until at most Pending groups of this thread are still under way.
template <int Pending>
DEVICE void copy_wait() {
#ifndef __CUDASIM__
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace gpuengine
