// The scheduler: starts the blocks of a group, gives each thread a fiber when it first runs, and switches at every
// wait.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "execution.h"
#include "findings.h"
#include "settings.h"
#include "shadow.h"
#include "traffic.h"

namespace cudasim {

constexpr int error_timeout = 702;

Worker::Worker() = default;

Worker::~Worker() {
    for (auto* stack : used_stacks_) munmap(stack - 4096, stack_bytes + 4096);
    if (shared_base_) munmap(shared_base_, slots_ * shared_slot_bytes);
}

void Worker::reserve_slots(unsigned count) {
    if (count > slots_) {
        if (shared_base_) munmap(shared_base_, slots_ * shared_slot_bytes);
        slots_ = std::max<size_t>(count, 16);
        void* memory = mmap(nullptr, slots_ * shared_slot_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        shared_base_ = static_cast<uint8_t*>(memory);
    }
    // The shadow belongs to the calling thread, and the next launch may come from another one.
    shared_shadow().reserve(slots_ * shared_slot_bytes);
    while (blocks_.size() < count) blocks_.push_back(std::make_unique<Block>());
}

void Worker::start_block(Launch& launch, uint32_t id, unsigned slot) {
    auto& block = *blocks_[slot];
    const auto n = static_cast<uint32_t>(launch.block.count());
    block.launch = &launch;
    block.worker = this;
    block.id = id;
    block.index = {id % launch.grid.x, id / launch.grid.x % launch.grid.y, id / launch.grid.x / launch.grid.y};
    const auto& c = launch.cluster;
    block.cluster_rank = block.index.x % c.x + c.x * (block.index.y % c.y + c.y * (block.index.z % c.z));
    block.slot = static_cast<int>(slot);
    block.shared = shared_base_ + slot * shared_slot_bytes;
    block.live = n;
    block.at_barrier = block.at_cluster = 0;
    block.barrier_kind = block.barrier_result = block.barrier_count = 0;
    block.epoch = next_epoch();
    block.fence_epoch = 0;
    block.fenced_before_barrier = false;
    block.cluster_phase = 0;
    block.acquired.clear();
    block.acquired_thread.clear();
    block.shared_ready.clear();
    prepare_dynamic_shared(block);

    if (block.threads.size() != n) {
        block.threads = std::vector<Thread>(n);
        block.warps = std::vector<Warp>((n + warp_size - 1) / warp_size);
    }
    for (auto& warp : block.warps) {
        warp.block = &block;
        warp.live = warp.waiting = 0;
        warp.full_syncs = 0;
        if (warp.partial) {
            warp.partial = false;
            std::fill(&warp.seen[0][0], &warp.seen[0][0] + warp_size * warp_size, uint16_t{0});
        }
    }
    const auto& d = launch.block;
    for (uint32_t i = 0; i < n; ++i) {
        auto& t = block.threads[i];
        t.block = &block;
        t.warp = &block.warps[i / warp_size];
        t.id = i;
        t.lane = i % warp_size;
        t.index = {i % d.x, i / d.x % d.y, i / d.x / d.y};
        t.state = ThreadState::fresh;
        t.stack = nullptr;
        t.partial_clock = 0;
        t.fence_epoch = 0;
        t.spins = 0;
        t.accesses.clear();
        t.warp->lanes[t.lane] = &t;
        t.warp->live |= 1u << t.lane;
        ready_.push_back(&t);
    }
    launch.counters.blocks++;
    launch.counters.threads += n;
}

Thread* Worker::pick() {
    if (head_ == ready_.size()) {
        ready_.clear();
        head_ = 0;
        return nullptr;
    }
    if (random_order_) {
        const auto i = head_ + next_random() % (ready_.size() - head_);
        std::swap(ready_[i], ready_[head_]);
    }
    auto* t = ready_[head_++];
    if (head_ > 4096 && head_ * 2 > ready_.size()) {
        ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
    return t;
}

void Worker::fiber_main() {
    for (;;) {
        auto* self = current;
        auto& worker = *self->block->worker;
        auto* stack = self->stack;
        self->state = ThreadState::running;
        self->block->launch->thunk(self->block->launch->arguments);
        self->state = ThreadState::finished;
        thread_exited(*self);
        auto* next = worker.pick();
        void* unused;
        if (!next) {
            worker.free_stacks.push_back(stack);
            cudasim_switch(&unused, worker.main_context_);
        }
        current = next;
        if (next->state == ThreadState::fresh) {
            next->stack = stack;  // this fiber goes on as the next thread
            continue;
        }
        worker.free_stacks.push_back(stack);
        next->state = ThreadState::running;
        cudasim_switch(&unused, next->stack_pointer);
    }
}

void Worker::wait(ThreadState why) {
    auto* self = current;
    self->state = why;
    auto* next = pick();
    if (next == self) {
        self->state = ThreadState::running;
        return;
    }
    if (!next) {
        cudasim_switch(&self->stack_pointer, main_context_);
    } else {
        if (next->state == ThreadState::fresh) {
            next->stack = take_stack(*this);
            next->stack_pointer = fresh_fiber(next->stack, fiber_main);
        }
        next->state = ThreadState::running;
        current = next;
        cudasim_switch(&self->stack_pointer, next->stack_pointer);
    }
    current = self;
    self->state = ThreadState::running;
}

void Worker::yield() {
    if (!others_ready()) return;
    auto* self = current;
    ready_.push_back(self);
    wait(ThreadState::ready);
}

void Worker::abort_launch(int error) {
    int none = 0;
    current->block->launch->error.compare_exchange_strong(none, error);
    aborted_ = true;
    void* unused;
    cudasim_switch(&unused, main_context_);
    std::abort();
}

void Worker::run_group(Launch& launch, const uint32_t* block_ids, unsigned count) {
    reserve_slots(count);
    ready_.clear();
    head_ = 0;
    aborted_ = false;
    resident_ = count;
    for (unsigned i = 0; i < count; ++i) start_block(launch, block_ids[i], i);

    auto* first = pick();
    if (first) {
        first->stack = take_stack(*this);
        first->stack_pointer = fresh_fiber(first->stack, fiber_main);
        current = first;
        cudasim_switch(&main_context_, first->stack_pointer);
    }
    current = nullptr;

    bool finished = !aborted_;
    for (unsigned i = 0; i < count; ++i) finished = finished && blocks_[i]->live == 0;
    if (!finished) {
        if (!aborted_) {
            report_stuck(launch);
            int none = 0;
            launch.error.compare_exchange_strong(none, error_timeout);
        }
        free_stacks = used_stacks_;  // the fibers that were left in the middle are forgotten
    }
    for (unsigned i = 0; i < count; ++i) {
        flush_block(*blocks_[i]);
        release_shared(*blocks_[i]);
    }
}

void Worker::report_stuck(Launch& launch) {
    // Nobody can run and somebody is waiting: on the device this grid would hang.
    std::map<std::string, unsigned> places;
    Thread* example = nullptr;
    for (size_t i = 0; i < resident_; ++i) {
        for (auto& t : blocks_[i]->threads) {
            if (t.state == ThreadState::finished) continue;
            if (!example) example = &t;
            const char* what = t.state == ThreadState::at_barrier   ? "__syncthreads"
                               : t.state == ThreadState::at_cluster ? "a cluster barrier"
                                                                    : "a warp operation";
            places[std::string(what) + " of line " + std::to_string(t.line)]++;
        }
    }
    if (!example) return;
    std::string text = "the grid cannot go on:";
    for (const auto& [place, threads] : places)
        text += " " + std::to_string(threads) + " threads wait at " + place + ";";
    text.pop_back();
    report(Finding{"deadlock", text}, *example, 0);
    launch.counters.divergent_barriers++;
}

}  // namespace cudasim
