// Shadow memory: for every byte of simulated memory what may be done with it, what was done with it, and by whom last.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "execution.h"

namespace cudasim {

enum ByteState : uint8_t { byte_addressable = 1, byte_initialised = 2, byte_read = 4, byte_written = 8 };
enum AccessKind : uint8_t {
    access_read = 0,
    access_write = 1,
    access_atomic = 2,
    access_volatile = 4,
    access_shared = 8,
    access_remote = 16
};

// The last access of a kind to a few bytes. 16 bytes.
struct RaceRecord {
    uint32_t block;
    uint32_t epoch;      // 0: never
    uint32_t full : 24;  // full-warp synchronisations of the warp before the access
    uint32_t flags : 8;
    uint16_t thread;
    uint16_t partial;
};
enum RaceFlag : uint8_t {
    race_atomic = 1,
    race_split = 2,
    race_many_lanes = 4,
    race_many_warps = 8,
    race_many_blocks = 16
};

struct RaceCell {
    RaceRecord write, read;
};

// The shadow of one address range. All parts are mapped lazily by the system: untouched memory costs nothing.
class Shadow {
public:
    void reserve(size_t bytes);
    void reserve_races();
    bool mapped() const { return states_ != nullptr; }
    bool races_mapped() const { return cells_ != nullptr; }
    uint8_t* states(size_t offset) { return states_ + offset; }
    RaceCell& cell(size_t offset) { return cells_[offset / 4]; }
    RaceCell& byte_cell(size_t offset) { return byte_cells_[offset]; }
    void set(size_t offset, size_t size, uint8_t state);
    void forget(size_t offset, size_t size);  // back to zero, memory returned to the system
    // Pages whose footprint bits were set in this launch.
    void touch(size_t offset) {
        auto& page = touched_[offset >> 12];
        if (page) return;
        page = 1;
        touched_list_.push_back(static_cast<uint32_t>(offset >> 12));
    }
    void clear_footprint();

private:
    size_t size_ = 0;
    uint8_t* states_ = nullptr;
    uint8_t* touched_ = nullptr;
    RaceCell* cells_ = nullptr;
    RaceCell* byte_cells_ = nullptr;
    std::vector<uint32_t> touched_list_;
};

Shadow& shared_shadow();  // of the calling worker's shared memory
Shadow& device_shadow(int device);

void prepare_dynamic_shared(Block& block);
void release_shared(Block& block);

// Checks one access of the current thread (memcheck.cpp, racecheck.cpp).
void check_bytes(Shadow& shadow, size_t offset, uintptr_t address, unsigned size, unsigned kind, uintptr_t pc);
void check_race(Shadow& shadow, size_t offset, uintptr_t address, unsigned size, unsigned kind, uintptr_t pc);

// Order between blocks: what block a knows of block b.
void acquire(Block& a, uint32_t b, uint32_t epoch, uint32_t thread);
void atomic_order(uintptr_t address, bool releases);

void on_access(uintptr_t address, unsigned size, unsigned kind, uintptr_t pc);

}  // namespace cudasim
