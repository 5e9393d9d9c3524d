// Memory checking: may these bytes be used, was something written there before they are read; and the footprint of a
// launch.
#include <algorithm>
#include <cstring>

#include "execution.h"
#include "findings.h"
#include "memory.h"
#include "settings.h"
#include "shadow.h"

namespace cudasim {
namespace {

std::string access_text(unsigned size, unsigned kind) {
    return std::string(kind & access_atomic && !(kind & access_volatile) ? "atomic on "
                       : kind & access_write                             ? "write of "
                                                                         : "read of ") +
           std::to_string(size) + (size == 1 ? " byte" : " bytes") + (kind & access_shared ? " of shared memory" : "");
}

std::string describe_shared(const Block& block, size_t offset) {
    const auto& launch = *block.launch;
    const auto within = offset % shared_slot_bytes;
    std::string best = "dynamic shared memory of " + std::to_string(launch.dynamic_shared) + " bytes, offset " +
                       std::to_string(static_cast<int64_t>(within) - static_cast<int64_t>(dynamic_shared_offset));
    // A guard belongs to the variable it is nearest to.
    size_t best_distance = within >= dynamic_shared_offset + launch.dynamic_shared
                               ? within - dynamic_shared_offset - launch.dynamic_shared
                           : within < dynamic_shared_offset ? dynamic_shared_offset - within
                                                            : 0;
    if (launch.dynamic_shared == 0) best_distance = SIZE_MAX;
    for (const auto& v : launch.shared_variables) {
        const auto distance = within < v.offset             ? v.offset - within
                              : within >= v.offset + v.size ? within - v.offset - v.size
                                                            : 0;
        if (distance >= best_distance) continue;
        best_distance = distance;
        best = "shared variable '" + v.name + "' of " + std::to_string(v.size) + " bytes, offset " +
               std::to_string(static_cast<int64_t>(within) - static_cast<int64_t>(v.offset));
    }
    return best;
}

[[gnu::noinline]] void bad_bytes(const uint8_t* states, size_t offset, uintptr_t address, unsigned size, unsigned kind,
                                 uintptr_t pc) {
    unsigned bad = 0;
    bool outside = false;
    for (unsigned i = 0; i < size; ++i) {
        if (!(states[i] & byte_addressable)) {
            bad = i;
            outside = true;
            break;
        }
    }
    const auto where = [&](unsigned byte) {
        return kind & access_shared ? describe_shared(*current->block, offset + byte)
                                    : describe_address(address + byte);
    };
    if (outside) {
        const auto place = where(bad);
        const bool freed = place.find("freed") != std::string::npos;
        report(Finding{freed ? "use_after_free" : "out_of_bounds", access_text(size, kind) + ": " + place, address},
               *current, pc);
        return;
    }
    if (kind & access_write && (!(kind & access_atomic) || kind & access_volatile)) return;
    for (unsigned i = 0; i < size; ++i) {
        if (states[i] & byte_initialised) continue;
        report(Finding{"uninitialised_read", access_text(size, kind) + ", nothing was written there: " + where(i),
                       address},
               *current, pc);
        return;
    }
}

// In how many of the eight bytes is this bit set?
uint64_t count_bytes(uint64_t states, unsigned bit) {
    constexpr uint64_t ones = 0x0101010101010101ull;
    return (states / bit & ones) * ones >>
           56;  // a bit of a byte comes to its lowest place; the product adds the bytes up
}

}  // namespace

void check_bytes(Shadow& shadow, size_t offset, uintptr_t address, unsigned size, unsigned kind, uintptr_t pc) {
    auto* states = shadow.states(offset);
    const bool writes = kind & access_write;
    const bool reads = !writes || ((kind & access_atomic) && !(kind & access_volatile));
    uint64_t low = 0, high = 0;
    std::memcpy(&low, states, std::min(size, 8u));
    if (size > 8) std::memcpy(&high, states + 8, size - 8);
    const auto mask_of = [](unsigned n) { return n >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * n)) - 1; };
    const uint64_t low_mask = mask_of(size), high_mask = size > 8 ? mask_of(size - 8) : 0;
    const uint64_t needed = 0x0101010101010101ull * (reads ? byte_addressable | byte_initialised : byte_addressable);
    if (settings().check_memory && (((low & needed) ^ needed) & low_mask || ((high & needed) ^ needed) & high_mask))
        bad_bytes(states, offset, address, size, kind, pc);

    uint64_t set = 0;
    if (writes) set |= byte_written | byte_initialised;
    if (reads) set |= byte_read;
    set *= 0x0101010101010101ull;
    if (!(kind & access_shared)) {
        shadow.touch(offset);
        if ((offset & 4095) + size > 4096) shadow.touch(offset + size - 1);
        auto& counters = current->block->launch->counters;
        const uint64_t fresh_low = set & ~low & low_mask, fresh_high = set & ~high & high_mask;
        if (fresh_low | fresh_high) {
            counters.unique_read_bytes += count_bytes(fresh_low, byte_read) + count_bytes(fresh_high, byte_read);
            counters.unique_write_bytes += count_bytes(fresh_low, byte_written) + count_bytes(fresh_high, byte_written);
        }
    }
    // Guards stay guards: only usable bytes become initialised.
    if (((low & low_mask & 0x0101010101010101ull) | (high & high_mask & 0x0101010101010101ull)) == 0) return;
    low |= set;
    std::memcpy(states, &low, std::min(size, 8u));
    if (size > 8) {
        high |= set;
        std::memcpy(states + 8, &high, size - 8);
    }
}

}  // namespace cudasim
