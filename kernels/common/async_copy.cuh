// Copies from global to shared memory that go on while the thread does other work (cp.async, compute capability 8.0). Each thread
// reads only what it copied itself, after waiting: no barrier is needed.
#pragma once
#include "vector.cuh"

namespace gpuengine {

// Starts the copy of N elements; both addresses are multiples of min(16, N sizeof(T)). Pieces of 1 or 2 bytes, which the hardware does
// not copy by itself, are done at once.
template <int N, class T>
DEVICE void async_copy(T* shared, const T* global) {
    constexpr int bytes = N * static_cast<int>(sizeof(T));
    static_assert(bytes <= 16, "one access");
#ifndef __CUDASIM__
    if (bytes >= 4) {
        u32 address;
        asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(shared));
        if (bytes == 16)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
        else if (bytes == 8)
            asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(address), "l"(global) : "memory");
        else
            asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(address), "l"(global) : "memory");
        return;
    }
#endif
    store(shared, load<N>(global));
}

// Closes a group of copies; a group may be empty.
DEVICE void async_commit() {
#ifndef __CUDASIM__
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until all groups but the last Pending have arrived.
template <int Pending>
DEVICE void async_wait() {
#ifndef __CUDASIM__
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace gpuengine
