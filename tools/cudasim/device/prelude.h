// Included before every kernel that is built for the simulator: CUDA's keywords, built-in variables, types and
// functions, on top of the cudasim_* functions that the simulator exports. It plays the part of what NVRTC has built
// in, so it includes nothing. The words __global__, __shared__, __launch_bounds__ and __cluster_dims__ are not macros:
// the simulator rewrites them.
#pragma once
#define __CUDASIM__ 1
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __device__
#define __host__
#define __constant__ __attribute__((used))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __inline__ inline
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
#define __grid_constant__
#define __nv_pure__ __attribute__((pure))

typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef decltype(nullptr) nullptr_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long uintptr_t;
typedef long intptr_t;

// An assignment to a vector is one access, as it is on the device; member by member would be counted as several.
#define CUDASIM_VECTOR_ASSIGN(name)                      \
    __forceinline__ name& operator=(const name& other) { \
        __builtin_memcpy(this, &other, sizeof(name));    \
        return *this;                                    \
    }                                                    \
    name() = default;                                    \
    name(const name&) = default;
#define CUDASIM_VECTORS(T, name)                                                \
    struct name##1 {                                                            \
        T x;                                                                    \
    };                                                                          \
    struct alignas(2 * sizeof(T)) name##2 {                                     \
        T x, y;                                                                 \
        CUDASIM_VECTOR_ASSIGN(name##2)                                          \
        __forceinline__ name##2(T a, T b) : x(a), y(b) {}                       \
    };                                                                          \
    struct name##3 {                                                            \
        T x, y, z;                                                              \
    };                                                                          \
    struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 {           \
        T x, y, z, w;                                                           \
        CUDASIM_VECTOR_ASSIGN(name##4)                                          \
        __forceinline__ name##4(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {} \
    };                                                                          \
    __forceinline__ name##1 make_##name##1(T x) { return {x}; }                 \
    __forceinline__ name##2 make_##name##2(T x, T y) { return {x, y}; }         \
    __forceinline__ name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    __forceinline__ name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDASIM_VECTORS(signed char, char)
CUDASIM_VECTORS(unsigned char, uchar)
CUDASIM_VECTORS(short, short)
CUDASIM_VECTORS(unsigned short, ushort)
CUDASIM_VECTORS(int, int)
CUDASIM_VECTORS(unsigned int, uint)
CUDASIM_VECTORS(float, float)
CUDASIM_VECTORS(long long, longlong)
CUDASIM_VECTORS(unsigned long long, ulonglong)
CUDASIM_VECTORS(double, double)
struct dim3 {
    unsigned x, y, z;
    __forceinline__ constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

struct CudasimUint3 {
    unsigned x, y, z;
};
extern "C" {
CudasimUint3 cudasim_thread_idx() __attribute__((const));
CudasimUint3 cudasim_block_idx() __attribute__((const));
CudasimUint3 cudasim_block_dim() __attribute__((const));
CudasimUint3 cudasim_grid_dim() __attribute__((const));
CudasimUint3 cudasim_cluster_dim() __attribute__((const));
unsigned cudasim_cluster_rank() __attribute__((const));
unsigned cudasim_lane() __attribute__((const));
int cudasim_barrier(int kind, int predicate, unsigned line);
void cudasim_cluster_arrive(unsigned line);
void cudasim_cluster_wait(unsigned line);
void cudasim_grid_barrier_used();
void cudasim_yield();
unsigned long cudasim_warp(int operation, unsigned mask, unsigned long value, int argument, int width, unsigned line);
unsigned cudasim_active_mask();
unsigned long cudasim_atomic(int operation, int type, void* address, unsigned long value, unsigned long compare);
void cudasim_fence();
void* cudasim_shared(const void* tag, unsigned long size, unsigned long align, const char* name);
void* cudasim_dynamic_shared();
void* cudasim_map_shared(const void* pointer, unsigned rank);
void cudasim_trap() __attribute__((noreturn));
void cudasim_assert_failed(const char* text, const char* file, unsigned line) __attribute__((noreturn));
long long cudasim_clock();
int printf(const char*, ...);
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
}

#define threadIdx (::cudasim_thread_idx())
#define blockIdx (::cudasim_block_idx())
#define blockDim (::cudasim_block_dim())
#define gridDim (::cudasim_grid_dim())
#define warpSize 32
#define assert(condition) ((condition) ? (void)0 : ::cudasim_assert_failed(#condition, __FILE__, __LINE__))
#define __trap() ::cudasim_trap()

namespace cudasim_device {

template <class S>
char shared_tag = 0;
template <class S>
__forceinline__ S* shared(const char* name) {
    return static_cast<S*>(::cudasim_shared(&shared_tag<S>, sizeof(S), alignof(S), name));
}

template <class T>
__forceinline__ unsigned long to_bits(T value) {
    static_assert(sizeof(T) <= 8, "a shuffled or atomic value has at most 8 bytes");
    unsigned long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    return bits;
}
template <class T>
__forceinline__ T from_bits(unsigned long bits) {
    T value;
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}

struct KernelEntry {
    const char* name;
    void (*thunk)(void**);
    unsigned count;
    const unsigned* sizes;
    unsigned max_threads;
    unsigned cluster[3];
};
template <class T>
struct plain {
    using type = T;
};
template <class T>
struct plain<const T> {
    using type = T;
};
template <unsigned... I>
struct indices {};
template <unsigned N, unsigned... I>
struct make_indices : make_indices<N - 1, N - 1, I...> {};
template <unsigned... I>
struct make_indices<0, I...> {
    using type = indices<I...>;
};
template <auto K>
struct Thunk;
template <class... A, void (*K)(A...)>
struct Thunk<K> {
    static constexpr unsigned sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    template <unsigned... I>
    __attribute__((no_sanitize("thread"))) static void call(void** p, indices<I...>) {
        K(*static_cast<typename plain<A>::type*>(p[I])...);
    }
    __attribute__((no_sanitize("thread"))) static void run(void** p) {
        call(p, typename make_indices<sizeof...(A)>::type{});
    }
    static constexpr unsigned count = sizeof...(A);
};
template <auto K>
constexpr KernelEntry entry(const char* name, unsigned max_threads, unsigned x, unsigned y, unsigned z) {
    return {name, &Thunk<K>::run, Thunk<K>::count, Thunk<K>::sizes, max_threads, {x, y, z}};
}
constexpr unsigned first_of(unsigned a, ...) { return a; }

}  // namespace cudasim_device

// ---- Barriers, fences
// -------------------------------------------------------------------------------------------------
#define CUDASIM_LINE unsigned line = __builtin_LINE()
__forceinline__ void __syncthreads(CUDASIM_LINE) { cudasim_barrier(0, 0, line); }
__forceinline__ int __syncthreads_count(int predicate, CUDASIM_LINE) { return cudasim_barrier(1, predicate, line); }
__forceinline__ int __syncthreads_and(int predicate, CUDASIM_LINE) { return cudasim_barrier(2, predicate, line); }
__forceinline__ int __syncthreads_or(int predicate, CUDASIM_LINE) { return cudasim_barrier(3, predicate, line); }
__forceinline__ void __threadfence() { cudasim_fence(); }
__forceinline__ void __threadfence_system() { cudasim_fence(); }
__forceinline__ void __threadfence_block() {}
__forceinline__ void __nanosleep(unsigned) { cudasim_yield(); }

// ---- Warp
// -------------------------------------------------------------------------------------------------------------
__forceinline__ void __syncwarp(unsigned mask = 0xffffffffu, CUDASIM_LINE) { cudasim_warp(0, mask, 0, 0, 32, line); }
#define CUDASIM_SHUFFLE(name, code)                                                              \
    template <class T>                                                                           \
    __forceinline__ T name(unsigned mask, T value, int argument, int width = 32, CUDASIM_LINE) { \
        return cudasim_device::from_bits<T>(                                                     \
            cudasim_warp(code, mask, cudasim_device::to_bits(value), argument, width, line));    \
    }
CUDASIM_SHUFFLE(__shfl_sync, 1)
CUDASIM_SHUFFLE(__shfl_up_sync, 2)
CUDASIM_SHUFFLE(__shfl_down_sync, 3)
CUDASIM_SHUFFLE(__shfl_xor_sync, 4)
__forceinline__ unsigned __ballot_sync(unsigned mask, int p, CUDASIM_LINE) {
    return (unsigned)cudasim_warp(5, mask, p != 0, 0, 32, line);
}
__forceinline__ int __any_sync(unsigned mask, int p, CUDASIM_LINE) {
    return (int)cudasim_warp(6, mask, p != 0, 0, 32, line);
}
__forceinline__ int __all_sync(unsigned mask, int p, CUDASIM_LINE) {
    return (int)cudasim_warp(7, mask, p != 0, 0, 32, line);
}
template <class T>
__forceinline__ unsigned __match_any_sync(unsigned mask, T value, CUDASIM_LINE) {
    return (unsigned)cudasim_warp(8, mask, cudasim_device::to_bits(value), 0, 32, line);
}
template <class T>
__forceinline__ unsigned __match_all_sync(unsigned mask, T value, int* all, CUDASIM_LINE) {
    const unsigned result = (unsigned)cudasim_warp(9, mask, cudasim_device::to_bits(value), 0, 32, line);
    *all = result != 0;
    return result;
}
#define CUDASIM_REDUCE(name, T, code)                                     \
    __forceinline__ T name(unsigned mask, T value, CUDASIM_LINE) {        \
        return (T)cudasim_warp(code, mask, (unsigned)value, 0, 32, line); \
    }
CUDASIM_REDUCE(__reduce_add_sync, int, 10)
CUDASIM_REDUCE(__reduce_add_sync, unsigned, 10)
CUDASIM_REDUCE(__reduce_min_sync, int, 11)
CUDASIM_REDUCE(__reduce_max_sync, int, 12)
CUDASIM_REDUCE(__reduce_min_sync, unsigned, 13)
CUDASIM_REDUCE(__reduce_max_sync, unsigned, 14)
CUDASIM_REDUCE(__reduce_and_sync, unsigned, 15)
CUDASIM_REDUCE(__reduce_or_sync, unsigned, 16)
CUDASIM_REDUCE(__reduce_xor_sync, unsigned, 17)
__forceinline__ unsigned __activemask() { return cudasim_active_mask(); }

// ---- Atomics
// ----------------------------------------------------------------------------------------------------------
#define CUDASIM_ATOMIC(name, code, T, type)                                                                \
    __forceinline__ T name(T* p, T v) {                                                                    \
        return cudasim_device::from_bits<T>(cudasim_atomic(code, type, p, cudasim_device::to_bits(v), 0)); \
    }                                                                                                      \
    __forceinline__ T name##_block(T* p, T v) { return name(p, v); }                                       \
    __forceinline__ T name##_system(T* p, T v) { return name(p, v); }
#define CUDASIM_ATOMIC_INTEGERS(name, code) \
    CUDASIM_ATOMIC(name, code, int, 0)      \
    CUDASIM_ATOMIC(name, code, unsigned, 1) CUDASIM_ATOMIC(name, code, unsigned long long, 2)
CUDASIM_ATOMIC_INTEGERS(atomicAdd, 0)
CUDASIM_ATOMIC(atomicAdd, 0, float, 4)
CUDASIM_ATOMIC(atomicAdd, 0, double, 5)
CUDASIM_ATOMIC_INTEGERS(atomicMin, 1)
CUDASIM_ATOMIC(atomicMin, 1, long long, 3)
CUDASIM_ATOMIC_INTEGERS(atomicMax, 2)
CUDASIM_ATOMIC(atomicMax, 2, long long, 3)
CUDASIM_ATOMIC_INTEGERS(atomicExch, 3)
CUDASIM_ATOMIC(atomicExch, 3, float, 1)
CUDASIM_ATOMIC_INTEGERS(atomicAnd, 5)
CUDASIM_ATOMIC_INTEGERS(atomicOr, 6)
CUDASIM_ATOMIC_INTEGERS(atomicXor, 7)
CUDASIM_ATOMIC(atomicInc, 8, unsigned, 1)
CUDASIM_ATOMIC(atomicDec, 9, unsigned, 1)
__forceinline__ int atomicSub(int* p, int v) { return atomicAdd(p, -v); }
__forceinline__ unsigned atomicSub(unsigned* p, unsigned v) { return atomicAdd(p, 0u - v); }
#define CUDASIM_CAS(T, type)                                                                           \
    __forceinline__ T atomicCAS(T* p, T compare, T v) {                                                \
        return cudasim_device::from_bits<T>(                                                           \
            cudasim_atomic(4, type, p, cudasim_device::to_bits(v), cudasim_device::to_bits(compare))); \
    }
CUDASIM_CAS(int, 0)
CUDASIM_CAS(unsigned, 1)
CUDASIM_CAS(unsigned long long, 2)
CUDASIM_CAS(unsigned short, 6)

// ---- Loads and stores with cache hints
// --------------------------------------------------------------------------------
#define CUDASIM_LOAD(name)               \
    template <class T>                   \
    __forceinline__ T name(const T* p) { \
        return *p;                       \
    }
CUDASIM_LOAD(__ldg)
CUDASIM_LOAD(__ldcg) CUDASIM_LOAD(__ldca) CUDASIM_LOAD(__ldcs) CUDASIM_LOAD(__ldlu) CUDASIM_LOAD(__ldcv)
#define CUDASIM_STORE(name)                \
    template <class T>                     \
    __forceinline__ void name(T* p, T v) { \
        *p = v;                            \
    }
    CUDASIM_STORE(__stwb) CUDASIM_STORE(__stcg) CUDASIM_STORE(__stcs) CUDASIM_STORE(__stwt) __forceinline__
    long long clock64() {
    return cudasim_clock();
}
__forceinline__ int clock() { return (int)cudasim_clock(); }

#include "cudasim_math.h"
