// Block and cluster barriers. A barrier is complete when every live thread has come; it starts a new epoch for the race
// checker.
#include "device_abi.h"
#include "execution.h"
#include "findings.h"
#include "shadow.h"
#include "traffic.h"

namespace cudasim {

namespace {

void check_same_line(Block& block) {
    // Threads that meet at different barriers took different ways: undefined on the device.
    const Thread* first = nullptr;
    for (auto& t : block.threads) {
        if (t.state != ThreadState::at_barrier && &t != current) continue;
        if (t.state == ThreadState::finished) continue;
        if (!first) {
            first = &t;
        } else if (t.line != first->line) {
            block.launch->counters.divergent_barriers++;
            report(
                Finding{"divergent_barrier", "thread " + std::to_string(first->id) + " is at the barrier of line " +
                                                 std::to_string(first->line) + " and thread " + std::to_string(t.id) +
                                                 " at that of line " + std::to_string(t.line)},
                t, 0);
            return;
        }
    }
}

void complete_barrier(Block& block) {
    check_same_line(block);
    block.launch->counters.barriers++;
    block.fenced_before_barrier = block.fence_epoch == block.epoch;
    block.epoch = next_epoch();
    int result = 0;
    switch (block.barrier_kind) {
        case 1: result = block.barrier_count; break;
        case 2: result = block.barrier_count == static_cast<int>(block.at_barrier); break;
        case 3: result = block.barrier_count != 0; break;
        default: break;
    }
    block.barrier_result = result;
    block.at_barrier = 0;
    block.barrier_count = 0;
    flush_block(block);
    for (auto& t : block.threads) {
        if (t.state == ThreadState::at_barrier) {
            t.result = static_cast<uint64_t>(result);
            block.worker->make_ready(t);
        }
    }
}

int barrier(int kind, int predicate, uint32_t line) {
    auto* self = current;
    auto& block = *self->block;
    self->line = line;
    if (block.at_barrier == 0) block.barrier_kind = kind;
    block.barrier_count += predicate != 0;
    block.at_barrier++;
    if (block.at_barrier == block.live) {
        self->result = 0;
        complete_barrier(block);
        self->result = static_cast<uint64_t>(block.barrier_result);
        if (block.worker->random_order()) block.worker->yield();
    } else {
        block.worker->wait(ThreadState::at_barrier);
    }
    return static_cast<int>(self->result);
}

struct ClusterRange {
    size_t first, count;
};

ClusterRange cluster_of(Block& block) {
    const auto size = block.launch->cluster.count();
    const auto first = static_cast<size_t>(block.slot) / size * size;
    return {first, size};
}

bool cluster_complete(Block& block) {
    const auto range = cluster_of(block);
    uint32_t live = 0, waiting = 0;
    for (size_t i = 0; i < range.count; ++i) {
        auto& b = block.worker->block_of_slot(range.first + i);
        live += b.live;
        waiting += b.at_cluster;
    }
    return waiting != 0 && live == waiting;
}

void complete_cluster(Block& block) {
    const auto range = cluster_of(block);
    auto& worker = *block.worker;
    block.launch->counters.cluster_barriers++;
    const auto epoch = next_epoch();
    for (size_t i = 0; i < range.count; ++i) {
        auto& b = worker.block_of_slot(range.first + i);
        b.fenced_before_barrier = b.fence_epoch == b.epoch;
        b.epoch = epoch;
        b.at_cluster = 0;
        b.cluster_phase++;
        flush_block(b);
        for (size_t j = 0; j < range.count; ++j)
            acquire(b, worker.block_of_slot(range.first + j).id, epoch, any_thread);
        for (auto& t : b.threads)
            if (t.state == ThreadState::at_cluster) worker.make_ready(t);
    }
}

}  // namespace

void barrier_thread_exited(Block& block) {
    if (block.at_barrier == 0 || block.at_barrier != block.live) return;
    for (auto& t : block.threads) {
        if (t.state != ThreadState::at_barrier) continue;
        block.launch->counters.divergent_barriers++;
        report(Finding{"divergent_barrier",
                       std::to_string(block.at_barrier) + " of " + std::to_string(block.threads.size()) +
                           " threads are at the barrier of line " + std::to_string(t.line) + "; the others have ended"},
               t, 0);
        break;
    }
    complete_barrier(block);
}

void cluster_thread_exited(Block& block) {
    if (block.launch->cluster.count() > 1 && cluster_complete(block)) complete_cluster(block);
}

void thread_exited(Thread& t) {
    auto& block = *t.block;
    block.live--;
    t.warp->live &= ~(1u << t.lane);
    warp_lane_exited(*t.warp);
    if (block.live != 0) barrier_thread_exited(block);
    cluster_thread_exited(block);
}

}  // namespace cudasim

using namespace cudasim;

int cudasim_barrier(int kind, int predicate, unsigned line) { return barrier(kind, predicate, line); }

void cudasim_cluster_arrive(unsigned line) {
    auto* self = current;
    auto& block = *self->block;
    self->line = line;
    self->cluster_phase = block.cluster_phase;
    block.at_cluster++;
    if (cluster_complete(block)) complete_cluster(block);
}

void cudasim_cluster_wait(unsigned line) {
    auto* self = current;
    auto& block = *self->block;
    self->line = line;
    if (self->cluster_phase == block.cluster_phase) block.worker->wait(ThreadState::at_cluster);
}
