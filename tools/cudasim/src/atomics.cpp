// CUDA atomics and fences. The operation itself is a compare-and-swap loop, so that it also holds between host threads.
#include <bit>
#include <cstring>

#include "device_abi.h"
#include "execution.h"
#include "findings.h"
#include "settings.h"
#include "shadow.h"

namespace cudasim {
namespace {

template <class T>
T combine(int operation, T old, T value, T compare) {
    switch (operation) {
        case atomic_add: return static_cast<T>(old + value);
        case atomic_min: return value < old ? value : old;
        case atomic_max: return value > old ? value : old;
        case atomic_exchange: return value;
        case atomic_cas: return old == compare ? value : old;
        default: break;
    }
    if constexpr (std::is_integral_v<T>) {
        switch (operation) {
            case atomic_and: return old & value;
            case atomic_or: return old | value;
            case atomic_xor: return old ^ value;
            case atomic_inc: return old >= value ? T{0} : static_cast<T>(old + 1);
            case atomic_dec: return old == 0 || old > value ? value : static_cast<T>(old - 1);
            default: break;
        }
    }
    return old;
}

template <class T, class Bits>
uint64_t run(int operation, void* address, uint64_t value, uint64_t compare) {
    auto* place = static_cast<Bits*>(address);
    Bits seen = __atomic_load_n(place, __ATOMIC_SEQ_CST), wanted;
    do {
        wanted = std::bit_cast<Bits>(combine<T>(operation, std::bit_cast<T>(seen),
                                                std::bit_cast<T>(static_cast<Bits>(value)),
                                                std::bit_cast<T>(static_cast<Bits>(compare))));
    } while (!__atomic_compare_exchange_n(place, &seen, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return seen;
}

}  // namespace
}  // namespace cudasim

using namespace cudasim;

uint64_t cudasim_atomic(int operation, int type, void* address, uint64_t value, uint64_t compare) {
    const unsigned size = type == type_u64 || type == type_i64 || type == type_f64 ? 8 : type == type_u16 ? 2 : 4;
    auto& worker = *current->block->worker;
    if (settings().checked()) {
        on_access(reinterpret_cast<uintptr_t>(address), size, access_write | access_atomic,
                  reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
        if (settings().check_race) atomic_order(reinterpret_cast<uintptr_t>(address), true);
    }
    // A thread that does nothing but atomics may be waiting for another one.
    if ((++current->spins & 15) == 0) worker.yield();
    switch (type) {
        case type_i32: return run<int32_t, uint32_t>(operation, address, value, compare);
        case type_u32: return run<uint32_t, uint32_t>(operation, address, value, compare);
        case type_u64: return run<uint64_t, uint64_t>(operation, address, value, compare);
        case type_i64: return run<int64_t, uint64_t>(operation, address, value, compare);
        case type_f32: return run<float, uint32_t>(operation, address, value, compare);
        case type_f64: return run<double, uint64_t>(operation, address, value, compare);
        default: return run<uint16_t, uint16_t>(operation, address, value, compare);
    }
}

void cudasim_fence() {
    auto* t = current;
    t->fence_epoch = t->block->epoch;
    t->block->fence_epoch = t->block->epoch;
    if (!settings().checked()) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
