// What compiled kernels call. device/prelude.h declares the same functions for the kernels' side.
#pragma once
#include <cstdint>

struct CudasimUint3 {
    unsigned x, y, z;
};

#define CUDASIM_API extern "C" __attribute__((visibility("default")))

CUDASIM_API CudasimUint3 cudasim_thread_idx();
CUDASIM_API CudasimUint3 cudasim_block_idx();
CUDASIM_API CudasimUint3 cudasim_block_dim();
CUDASIM_API CudasimUint3 cudasim_grid_dim();
CUDASIM_API CudasimUint3 cudasim_cluster_dim();
CUDASIM_API unsigned cudasim_cluster_rank();
CUDASIM_API unsigned cudasim_lane();

// kind: 0 plain, 1 count, 2 and, 3 or.
CUDASIM_API int cudasim_barrier(int kind, int predicate, unsigned line);
CUDASIM_API void cudasim_cluster_arrive(unsigned line);
CUDASIM_API void cudasim_cluster_wait(unsigned line);
CUDASIM_API void cudasim_grid_barrier_used();
CUDASIM_API void cudasim_yield();  // a spinning thread lets the others go first

enum WarpOperation {
    warp_sync,
    warp_shuffle,
    warp_shuffle_up,
    warp_shuffle_down,
    warp_shuffle_xor,
    warp_ballot,
    warp_any,
    warp_all,
    warp_match_any,
    warp_match_all,
    warp_add,
    warp_min_signed,
    warp_max_signed,
    warp_min_unsigned,
    warp_max_unsigned,
    warp_and,
    warp_or,
    warp_xor
};
CUDASIM_API uint64_t cudasim_warp(int operation, unsigned mask, uint64_t value, int argument, int width, unsigned line);
CUDASIM_API unsigned cudasim_active_mask();

enum AtomicOperation {
    atomic_add,
    atomic_min,
    atomic_max,
    atomic_exchange,
    atomic_cas,
    atomic_and,
    atomic_or,
    atomic_xor,
    atomic_inc,
    atomic_dec
};
enum AtomicType { type_i32, type_u32, type_u64, type_i64, type_f32, type_f64, type_u16 };
CUDASIM_API uint64_t cudasim_atomic(int operation, int type, void* address, uint64_t value, uint64_t compare);
CUDASIM_API void cudasim_fence();

CUDASIM_API void* cudasim_shared(const void* tag, unsigned long size, unsigned long align, const char* name);
CUDASIM_API void* cudasim_dynamic_shared();
CUDASIM_API void* cudasim_map_shared(const void* pointer, unsigned rank);
CUDASIM_API void cudasim_trap();
CUDASIM_API void cudasim_assert_failed(const char* text, const char* file, unsigned line);
CUDASIM_API long long cudasim_clock();
