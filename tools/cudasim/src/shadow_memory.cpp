// Mapping of shadow memory, and the shared variables of blocks with the guards between them.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device_abi.h"
#include "findings.h"
#include "settings.h"
#include "shadow.h"

namespace cudasim {
namespace {

template <class T>
T* map_lazily(size_t count) {
    void* memory =
        mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::fprintf(stderr, "cudasim: cannot reserve %zu bytes of address space for shadow memory\n",
                     count * sizeof(T));
        std::abort();
    }
    return static_cast<T*>(memory);
}

template <class T>
void unmap(T*& pointer, size_t count) {
    if (pointer) munmap(pointer, count * sizeof(T));
    pointer = nullptr;
}

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

void Shadow::reserve(size_t bytes) {
    if (bytes <= size_) return;
    unmap(states_, size_);
    unmap(touched_, (size_ >> 12) + 1);
    unmap(cells_, size_ / 4 + 1);
    unmap(byte_cells_, size_);
    size_ = bytes;
    states_ = map_lazily<uint8_t>(bytes);
    touched_ = map_lazily<uint8_t>((bytes >> 12) + 1);
    touched_list_.clear();
}

void Shadow::reserve_races() {
    if (cells_) return;
    cells_ = map_lazily<RaceCell>(size_ / 4 + 1);
    byte_cells_ = map_lazily<RaceCell>(size_);
}

void Shadow::set(size_t offset, size_t size, uint8_t state) {
    if (states_) std::memset(states_ + offset, state, size);
}

void Shadow::forget(size_t offset, size_t size) {
    if (!states_) return;
    constexpr size_t large = size_t{1} << 20;
    if (size < large) {
        std::memset(states_ + offset, 0, size);
        return;
    }
    const auto first = round_up(offset, 4096), last = (offset + size) / 4096 * 4096;
    std::memset(states_ + offset, 0, first - offset);
    madvise(states_ + first, last - first, MADV_DONTNEED);
    std::memset(states_ + last, 0, offset + size - last);
}

void Shadow::clear_footprint() {
    for (const auto page : touched_list_) {
        touched_[page] = 0;
        auto* words = reinterpret_cast<uint64_t*>(states_ + (size_t{page} << 12));
        for (int i = 0; i < 512; ++i) words[i] &= 0x0303030303030303ull;
    }
    touched_list_.clear();
}

Shadow& shared_shadow() {
    static thread_local Shadow shadow;
    return shadow;
}

namespace {

// Opens [offset, offset + size) of a block's shared memory for use. What an earlier block left there is forgotten.
void open_shared(Block& block, size_t offset, size_t size) {
    if (!settings().checked()) return;
    auto& shadow = shared_shadow();
    const auto base = static_cast<size_t>(block.slot) * shared_slot_bytes + offset;
    shadow.set(base, size, byte_addressable);
    std::memset(block.shared + offset, 0xFF, size);  // NaN: a value nobody wrote must be seen
    if (settings().check_race) {
        shadow.reserve_races();
        std::memset(&shadow.cell(base), 0, (size + 3) / 4 * sizeof(RaceCell));
    }
}

void open_variable(Block& block, size_t index, size_t offset, size_t size) {
    if (block.shared_ready.size() <= index) block.shared_ready.resize(index + 1);
    if (block.shared_ready[index]) return;
    block.shared_ready[index] = 1;
    open_shared(block, offset, size);
    if (offset + size + shared_guard > block.shared_used) block.shared_used = offset + size + shared_guard;
}

}  // namespace

void prepare_dynamic_shared(Block& block) {
    block.shared_used = dynamic_shared_offset + round_up(block.launch->dynamic_shared, 128) + shared_guard;
    open_shared(block, dynamic_shared_offset, block.launch->dynamic_shared);
}

void release_shared(Block& block) {
    if (!settings().checked()) return;
    std::memset(shared_shadow().states(static_cast<size_t>(block.slot) * shared_slot_bytes), 0, block.shared_used);
}

}  // namespace cudasim

using namespace cudasim;

void* cudasim_dynamic_shared() { return current->block->shared + dynamic_shared_offset; }

void* cudasim_shared(const void* tag, unsigned long size, unsigned long align, const char* name) {
    auto& block = *current->block;
    auto& launch = *block.launch;
    size_t index = 0, offset = 0;
    {
        const std::lock_guard guard(launch.shared_lock);
        auto& variables = launch.shared_variables;
        while (index < variables.size() && variables[index].tag != tag) ++index;
        if (index == variables.size()) {
            // Every variable starts a line of 32 banks, so that conflicts do not depend on who came first.
            auto end = dynamic_shared_offset + round_up(launch.dynamic_shared, 128) + shared_guard;
            if (!variables.empty()) end = round_up(variables.back().offset + variables.back().size, 128) + shared_guard;
            offset = round_up(end, align > 128 ? align : 128);
            variables.push_back({tag, size, offset, name});
            launch.static_shared += size;
            // Static memory alone has the small limit, with dynamic memory the one that the function was given.
            const auto small = static_cast<size_t>(settings().shared_per_block);
            const bool alone = launch.static_shared > small;
            if (alone || launch.static_shared + launch.dynamic_shared > launch.shared_limit) {
                report(Finding{"shared_too_large", "static shared memory of " + std::to_string(launch.static_shared) +
                                                       " bytes and " + std::to_string(launch.dynamic_shared) +
                                                       " dynamic bytes exceed the limit of " +
                                                       std::to_string(alone ? small : launch.shared_limit)},
                       *current, 0);
                block.worker->abort_launch(701);
            }
        } else {
            offset = variables[index].offset;
        }
    }
    if (block.shared_ready.size() <= index || !block.shared_ready[index]) {
        // The whole cluster at once: another block may reach this variable before this one's own code does.
        const auto cluster = launch.cluster.count();
        const auto first = static_cast<size_t>(block.slot) / cluster * cluster;
        for (size_t i = first; i < first + cluster; ++i)
            open_variable(block.worker->block_of_slot(i), index, offset, size);
    }
    return block.shared + offset;
}

void* cudasim_map_shared(const void* pointer, unsigned rank) {
    auto& block = *current->block;
    const auto size = block.launch->cluster.count();
    const auto offset = reinterpret_cast<uintptr_t>(pointer) - reinterpret_cast<uintptr_t>(block.shared);
    if (rank >= size || offset >= shared_slot_bytes) {
        report(Finding{"cluster_rank", "map_shared: rank " + std::to_string(rank) + " of a cluster of " +
                                           std::to_string(size) +
                                           " blocks, or a pointer that is not to this block's shared memory"},
               *current, 0);
        block.worker->abort_launch(700);
    }
    auto& other = block.worker->block_of_slot(static_cast<size_t>(block.slot) / size * size + rank);
    return other.shared + offset;
}
