// Race checking by happens-before: two accesses to one byte, one of them a write, must be ordered by a barrier, a warp
// synchronisation, a cluster barrier, or a fence and an atomic that the other side has read. Atomics do not race with
// atomics.
#include <algorithm>
#include <atomic>

#include "execution.h"
#include "findings.h"
#include "memory.h"
#include "shadow.h"

namespace cudasim {
namespace {

std::atomic<uint32_t> epoch_counter{1};

// Has everything that r stands for happened before what thread t does now?
bool ordered(const RaceRecord& r, const Thread& t) {
    const auto& block = *t.block;
    if (r.epoch < block.launch->start_epoch) return true;  // an earlier launch, or nothing
    if (r.block != block.id) {
        if (r.block >= block.acquired.size()) return false;
        const auto known = block.acquired[r.block];
        if (r.epoch < known) return true;
        if (r.epoch > known || r.flags & race_many_warps) return false;
        const auto thread = block.acquired_thread[r.block];
        return thread == any_thread || thread == r.thread;
    }
    if (r.epoch < block.epoch) return true;
    if (r.flags & race_many_blocks) return false;
    if (r.flags & race_many_warps) return false;
    if (r.thread / warp_size != t.id / warp_size) return false;
    const auto& warp = *t.warp;
    if (r.full < (warp.full_syncs & 0xFFFFFF)) return true;
    if (r.flags & race_many_lanes) return warp.partial && t.partial_clock > 0;
    if (r.thread == t.id) return true;
    return warp.partial && r.partial < warp.seen[t.lane][r.thread % warp_size];
}

bool same_thread(const RaceRecord& r, const Thread& t) {
    return r.block == t.block->id && r.thread == t.id &&
           !(r.flags & (race_many_lanes | race_many_warps | race_many_blocks));
}

RaceRecord record_of(const Thread& t, uint8_t flags) {
    return {t.block->id,    t.block->epoch, t.warp->full_syncs & 0xFFFFFF, flags, static_cast<uint16_t>(t.id),
            t.partial_clock};
}

[[gnu::noinline]] void race(const RaceRecord& earlier, bool earlier_writes, uintptr_t address, unsigned size,
                            unsigned kind, size_t offset, uintptr_t pc) {
    const auto& t = *current;
    const auto& dim = t.block->launch->block;
    std::string text = std::string(kind & access_atomic  ? "atomic"
                                   : kind & access_write ? "write"
                                                         : "read") +
                       " of " + std::to_string(size) + " bytes of " + (kind & access_shared ? "shared" : "global") +
                       " memory not ordered after the " +
                       (earlier.flags & race_atomic ? "atomic"
                        : earlier_writes            ? "write"
                                                    : "read") +
                       " by thread " + std::to_string(earlier.thread) + " of block " + std::to_string(earlier.block);
    if (dim.y * dim.z > 1) text += " (linear)";
    if (kind & access_shared) {
        const auto within = offset % shared_slot_bytes;
        for (const auto& v : t.block->launch->shared_variables)
            if (within >= v.offset && within < v.offset + v.size)
                text += ", variable '" + v.name + "' offset " + std::to_string(within - v.offset);
    } else {
        text += ", " + describe_address(address);
    }
    report(Finding{kind & access_shared ? "shared_race" : "global_race", text, address}, t, pc);
}

// One cell: check against what is there, then leave this access.
void visit(RaceCell& cell, const Thread& t, size_t offset, uintptr_t address, unsigned size, unsigned kind,
           uintptr_t pc) {
    const bool writes = kind & access_write, atomic = kind & access_atomic;
    const auto split = static_cast<uint8_t>(cell.write.flags & race_split);
    auto& w = cell.write;
    auto& r = cell.read;
    if (!same_thread(w, t) && !(atomic && w.flags & race_atomic) && !ordered(w, t))
        race(w, true, address, size, kind, offset, pc);
    const bool reader_ordered = ordered(r, t);
    if (writes) {
        if (!same_thread(r, t) && !(atomic && r.flags & race_atomic) && !reader_ordered)
            race(r, false, address, size, kind, offset, pc);
        w = record_of(t, static_cast<uint8_t>(split | (atomic ? race_atomic : 0)));
        return;
    }
    auto next = record_of(t, atomic ? race_atomic : 0);
    if (!reader_ordered && !same_thread(r, t)) {
        next.flags |= r.flags & (race_many_lanes | race_many_warps | race_many_blocks);
        if (!(r.flags & race_atomic)) next.flags &= static_cast<uint8_t>(~race_atomic);
        if (r.block != t.block->id)
            next.flags |= race_many_blocks | race_many_warps | race_many_lanes;
        else if (r.thread / warp_size != t.id / warp_size)
            next.flags |= race_many_warps | race_many_lanes;
        else if (r.thread != t.id)
            next.flags |= race_many_lanes;
    }
    r = next;
}

}  // namespace

uint32_t next_epoch() { return epoch_counter.fetch_add(1, std::memory_order_relaxed) + 1; }

void check_race(Shadow& shadow, size_t offset, uintptr_t address, unsigned size, unsigned kind, uintptr_t pc) {
    auto& t = *current;
    size_t at = offset;
    const size_t end = offset + size;
    while (at < end) {
        auto& cell = shadow.cell(at);
        if (at % 4 == 0 && end - at >= 4 && !(cell.write.flags & race_split)) {
            visit(cell, t, at, address, size, kind, pc);
            at += 4;
            continue;
        }
        if (!(cell.write.flags & race_split)) {
            // The first access smaller than a word: from now on each byte has its own record.
            cell.write.flags |= race_split;
            for (size_t i = 0; i < 4; ++i) shadow.byte_cell(at / 4 * 4 + i) = cell;
        }
        for (const size_t stop = std::min(end, at / 4 * 4 + 4); at < stop; ++at)
            visit(shadow.byte_cell(at), t, at, address, size, kind, pc);
    }
}

void acquire(Block& a, uint32_t b, uint32_t epoch, uint32_t thread) {
    if (a.acquired.size() <= b) {
        const auto blocks = a.launch->grid.count();
        a.acquired.resize(blocks);
        a.acquired_thread.resize(blocks);
    }
    if (epoch > a.acquired[b]) {
        a.acquired[b] = epoch;
        a.acquired_thread[b] = thread;
    } else if (epoch == a.acquired[b] && a.acquired_thread[b] != thread) {
        a.acquired_thread[b] = any_thread;
    }
}

// An atomic, or a volatile access, on a word: what the word has published becomes visible here; and where a fence came
// before it, what this block did becomes visible to whoever reads the word next.
void atomic_order(uintptr_t address, bool releases) {
    auto& t = *current;
    auto& block = *t.block;
    auto& launch = *block.launch;
    if (launch.grid.count() == 1 || block.worker->owns_shared(address)) return;
    const bool fenced = t.fence_epoch == block.epoch || block.fenced_before_barrier;
    auto found = launch.sync_objects.find(address);
    if (found != launch.sync_objects.end()) {
        const auto& object = found->second;
        for (uint32_t b = 0; b < object.epochs.size(); ++b)
            if (object.epochs[b] && b != block.id) acquire(block, b, object.epochs[b], object.threads[b]);
    }
    if (!releases || !fenced) return;
    auto& object = launch.sync_objects[address];
    const auto blocks = launch.grid.count();
    if (object.epochs.size() != blocks) {
        object.epochs.assign(blocks, 0);
        object.threads.assign(blocks, 0);
    }
    // What this block had acquired from others goes along.
    for (uint32_t b = 0; b < block.acquired.size(); ++b) {
        if (block.acquired[b] > object.epochs[b]) {
            object.epochs[b] = block.acquired[b];
            object.threads[b] = block.acquired_thread[b];
        }
    }
    if (block.epoch > object.epochs[block.id]) {
        object.epochs[block.id] = block.epoch;
        object.threads[block.id] = t.id;
    } else if (object.threads[block.id] != t.id) {
        object.threads[block.id] = any_thread;
    }
}

}  // namespace cudasim
