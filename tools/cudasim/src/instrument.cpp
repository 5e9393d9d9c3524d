// The call-outs of code compiled with -fsanitize=thread: every load and store of a kernel comes through here.
#include <cstring>

#include "device_abi.h"
#include "execution.h"
#include "findings.h"
#include "memory.h"
#include "module.h"
#include "settings.h"
#include "shadow.h"
#include "traffic.h"

namespace cudasim {
namespace {

constexpr int error_illegal_address = 700;

[[noreturn, gnu::noinline]] void wild_access(uintptr_t address, unsigned size, unsigned kind, uintptr_t pc) {
    report(Finding{"illegal_address",
                   std::string(kind & access_write ? "write" : "read") + " of " + std::to_string(size) +
                       " bytes at an address that is no device memory",
                   address},
           *current, pc);
    current->block->worker->abort_launch(error_illegal_address);
}

}  // namespace

void on_access(uintptr_t address, unsigned size, unsigned kind, uintptr_t pc) {
    auto* t = current;
    if (!t) return;
    if (address - reinterpret_cast<uintptr_t>(t->stack) < stack_bytes) return;
    auto& worker = *t->block->worker;
    const auto& s = settings();
    Shadow* shadow;
    size_t offset;
    if (worker.owns_shared(address)) {
        shadow = &shared_shadow();
        offset = address - reinterpret_cast<uintptr_t>(worker.shared_base());
        kind |= access_shared;
        if (static_cast<int>(offset / shared_slot_bytes) != t->block->slot) kind |= access_remote;
    } else if (const int device = region_of(address); device >= 0) {
        if (device != t->block->launch->device && !peer_enabled(t->block->launch->device, device))
            wild_access(address, size, kind, pc);
        shadow = &device_shadow(device);
        offset = region_offset(address);
    } else {
        if (t->block->launch->image && t->block->launch->image->contains(address)) return;
        if (!is_host_pinned(address)) wild_access(address, size, kind, pc);
        return;
    }
    if (address % size != 0 && size <= 16) {
        report(Finding{"misaligned",
                       std::string(kind & access_write ? "write" : "read") + " of " + std::to_string(size) +
                           " bytes at an address that is not a multiple of " + std::to_string(size),
                       address},
               *t, pc);
    }
    if (s.check_memory || s.traffic) check_bytes(*shadow, offset, address, size, kind, pc);
    if (s.check_race) check_race(*shadow, offset, address, size, kind, pc);
    if (s.traffic) {
        t->accesses.push_back({pc, address & 0xFFFFFFFFFFFFull, size, kind});
        if (kind & access_atomic)
            (kind & access_shared ? t->block->launch->counters.shared_atomics
                                  : t->block->launch->counters.global_atomics)++;
    }
    if (kind & access_volatile) {
        worker.yield();  // somebody may be spinning here
        if (s.check_race) atomic_order(address, kind & access_write);
    } else {
        worker.maybe_preempt();
    }
}

namespace {

void on_range(uintptr_t address, size_t size, unsigned kind, uintptr_t pc) {
    if (size <= 16 && (size & (size - 1)) == 0) {
        if (size) on_access(address, static_cast<unsigned>(size), kind, pc);
        return;
    }
    // A structure copy: the device moves it in pieces of its alignment; 4 bytes stand for all.
    while (size) {
        const unsigned piece = size >= 4 && address % 4 == 0 ? 4 : 1;
        on_access(address, piece, kind, pc);
        address += piece;
        size -= piece;
    }
}

// clang copies structures in words wider than their alignment, which no device does.
void in_pieces(uintptr_t address, size_t size, unsigned kind, uintptr_t pc) {
    const size_t piece = address % 4 == 0 && size >= 4 ? 4 : address % 2 == 0 && size >= 2 ? 2 : 1;
    for (size_t at = 0; at < size; at += piece) on_access(address + at, static_cast<unsigned>(piece), kind, pc);
}

}  // namespace
}  // namespace cudasim

using namespace cudasim;

#define HERE reinterpret_cast<uintptr_t>(__builtin_return_address(0))
#define ADDRESS reinterpret_cast<uintptr_t>(address)

#define PLAIN(bytes)                                                                                                 \
    CUDASIM_API void __tsan_read##bytes(void* address) { on_access(ADDRESS, bytes, access_read, HERE); }             \
    CUDASIM_API void __tsan_write##bytes(void* address) { on_access(ADDRESS, bytes, access_write, HERE); }           \
    CUDASIM_API void __tsan_unaligned_read##bytes(void* address) { in_pieces(ADDRESS, bytes, access_read, HERE); }   \
    CUDASIM_API void __tsan_unaligned_write##bytes(void* address) { in_pieces(ADDRESS, bytes, access_write, HERE); } \
    CUDASIM_API void __tsan_volatile_read##bytes(void* address) {                                                    \
        on_access(ADDRESS, bytes, access_read | access_atomic | access_volatile, HERE);                              \
    }                                                                                                                \
    CUDASIM_API void __tsan_volatile_write##bytes(void* address) {                                                   \
        on_access(ADDRESS, bytes, access_write | access_atomic | access_volatile, HERE);                             \
    }                                                                                                                \
    CUDASIM_API void __tsan_unaligned_volatile_read##bytes(void* address) {                                          \
        on_access(ADDRESS, bytes, access_read | access_atomic | access_volatile, HERE);                              \
    }                                                                                                                \
    CUDASIM_API void __tsan_unaligned_volatile_write##bytes(void* address) {                                         \
        on_access(ADDRESS, bytes, access_write | access_atomic | access_volatile, HERE);                             \
    }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
#undef PLAIN

CUDASIM_API void __tsan_init() {}
CUDASIM_API void __tsan_func_entry(void*) {}
CUDASIM_API void __tsan_func_exit() {}
CUDASIM_API void __tsan_vptr_update(void**, void*) {}
CUDASIM_API void __tsan_vptr_read(void**) {}
CUDASIM_API void __tsan_read_range(void* address, unsigned long size) { on_range(ADDRESS, size, access_read, HERE); }
CUDASIM_API void __tsan_write_range(void* address, unsigned long size) { on_range(ADDRESS, size, access_write, HERE); }
CUDASIM_API void* __tsan_memcpy(void* to, const void* from, unsigned long size) {
    on_range(reinterpret_cast<uintptr_t>(from), size, access_read, HERE);
    on_range(reinterpret_cast<uintptr_t>(to), size, access_write, HERE);
    return std::memcpy(to, from, size);
}
CUDASIM_API void* __tsan_memmove(void* to, const void* from, unsigned long size) {
    on_range(reinterpret_cast<uintptr_t>(from), size, access_read, HERE);
    on_range(reinterpret_cast<uintptr_t>(to), size, access_write, HERE);
    return std::memmove(to, from, size);
}
CUDASIM_API void* __tsan_memset(void* to, int value, unsigned long size) {
    on_range(reinterpret_cast<uintptr_t>(to), size, access_write, HERE);
    return std::memset(to, value, size);
}
CUDASIM_API void __tsan_atomic_thread_fence(int) { cudasim_fence(); }
CUDASIM_API void __tsan_atomic_signal_fence(int) {}

// Compiler builtins for atomics; the CUDA functions go through cudasim_atomic instead (atomics.cpp).
#define ATOMIC(bits, T)                                                                                            \
    CUDASIM_API T __tsan_atomic##bits##_load(const volatile T* address, int) {                                     \
        on_access(ADDRESS, sizeof(T), access_read | access_atomic | access_volatile, HERE);                        \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                              \
    CUDASIM_API void __tsan_atomic##bits##_store(volatile T* address, T value, int) {                              \
        on_access(ADDRESS, sizeof(T), access_write | access_atomic | access_volatile, HERE);                       \
        __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                                        \
    }                                                                                                              \
    ATOMIC_RMW(bits, T, fetch_add, __atomic_fetch_add)                                                             \
    ATOMIC_RMW(bits, T, fetch_sub, __atomic_fetch_sub)                                                             \
    ATOMIC_RMW(bits, T, fetch_and, __atomic_fetch_and)                                                             \
    ATOMIC_RMW(bits, T, fetch_or, __atomic_fetch_or)                                                               \
    ATOMIC_RMW(bits, T, fetch_xor, __atomic_fetch_xor)                                                             \
    ATOMIC_RMW(bits, T, exchange, __atomic_exchange_n)                                                             \
    CUDASIM_API T __tsan_atomic##bits##_compare_exchange_val(volatile T* address, T expected, T value, int, int) { \
        on_access(ADDRESS, sizeof(T), access_write | access_atomic | access_volatile, HERE);                       \
        __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);         \
        return expected;                                                                                           \
    }                                                                                                              \
    CUDASIM_API int __tsan_atomic##bits##_compare_exchange_strong(volatile T* address, T* expected, T value, int,  \
                                                                  int) {                                           \
        on_access(ADDRESS, sizeof(T), access_write | access_atomic | access_volatile, HERE);                       \
        return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
    }                                                                                                              \
    CUDASIM_API int __tsan_atomic##bits##_compare_exchange_weak(volatile T* address, T* expected, T value, int a,  \
                                                                int b) {                                           \
        return __tsan_atomic##bits##_compare_exchange_strong(address, expected, value, a, b);                      \
    }
#define ATOMIC_RMW(bits, T, name, builtin)                                                   \
    CUDASIM_API T __tsan_atomic##bits##_##name(volatile T* address, T value, int) {          \
        on_access(ADDRESS, sizeof(T), access_write | access_atomic | access_volatile, HERE); \
        return builtin(address, value, __ATOMIC_SEQ_CST);                                    \
    }
ATOMIC(8, uint8_t) ATOMIC(16, uint16_t) ATOMIC(32, uint32_t) ATOMIC(64, uint64_t)
