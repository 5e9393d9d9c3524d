// Warp collectives. Lanes bring a value, the last one of the mask computes every lane's result, then all go on.
#include <algorithm>

#include "device_abi.h"
#include "execution.h"
#include "findings.h"
#include "shadow.h"
#include "traffic.h"

namespace cudasim {
namespace {

constexpr uint64_t poison = 0xFFFFFFFFFFFFFFFFull;  // a NaN in every float type: a wrong shuffle must be seen

const char* operation_name(int operation) {
    switch (operation) {
        case warp_sync: return "__syncwarp";
        case warp_shuffle: return "__shfl_sync";
        case warp_shuffle_up: return "__shfl_up_sync";
        case warp_shuffle_down: return "__shfl_down_sync";
        case warp_shuffle_xor: return "__shfl_xor_sync";
        case warp_ballot: return "__ballot_sync";
        case warp_any: return "__any_sync";
        case warp_all: return "__all_sync";
        case warp_match_any: return "__match_any_sync";
        case warp_match_all: return "__match_all_sync";
        default: return "__reduce_sync";
    }
}

uint64_t shuffle(Warp& warp, uint32_t members, Thread& t) {
    const int width = t.width, lane = static_cast<int>(t.lane), base = lane & ~(width - 1);
    int source = lane;
    switch (t.operation) {
        case warp_shuffle: source = base | (t.argument & (width - 1)); break;
        case warp_shuffle_up: source = lane - t.argument < base ? lane : lane - t.argument; break;
        case warp_shuffle_down: source = lane + t.argument >= base + width ? lane : lane + t.argument; break;
        default: source = (lane ^ t.argument) >= base + width ? lane : lane ^ t.argument; break;
    }
    if (source >= 0 && source < static_cast<int>(warp_size) && (members >> source & 1))
        return warp.lanes[source]->value;
    const auto* lane_thread = source >= 0 && source < static_cast<int>(warp_size) ? warp.lanes[source] : nullptr;
    const char* why = !lane_thread                                  ? "does not exist"
                      : lane_thread->state == ThreadState::finished ? "has exited"
                                                                    : "is not in the mask";
    report(Finding{"inactive_lane", std::string(operation_name(t.operation)) + " of line " + std::to_string(t.line) +
                                        ": lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
                                        ", which " + why},
           t, 0);
    return poison;
}

template <class F>
uint64_t fold(Warp& warp, uint32_t members, F combine) {
    bool first = true;
    uint32_t value = 0;
    for (uint32_t i = 0; i < warp_size; ++i) {
        if (!(members >> i & 1)) continue;
        const auto v = static_cast<uint32_t>(warp.lanes[i]->value);
        value = first ? v : static_cast<uint32_t>(combine(value, v));
        first = false;
    }
    return value;
}

uint64_t vote(Warp& warp, uint32_t members) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < warp_size; ++i)
        if ((members >> i & 1) && warp.lanes[i]->value) bits |= 1u << i;
    return bits;
}

uint64_t match(Warp& warp, uint32_t members, const Thread& t) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < warp_size; ++i)
        if ((members >> i & 1) && warp.lanes[i]->value == t.value) bits |= 1u << i;
    return bits;
}

uint64_t result_of(Warp& warp, uint32_t members, Thread& t) {
    using I = int32_t;
    switch (t.operation) {
        case warp_sync: return 0;
        case warp_shuffle:
        case warp_shuffle_up:
        case warp_shuffle_down:
        case warp_shuffle_xor: return shuffle(warp, members, t);
        case warp_ballot: return vote(warp, members);
        case warp_any: return vote(warp, members) != 0;
        case warp_all: return vote(warp, members) == members;
        case warp_match_any: return match(warp, members, t);
        case warp_match_all: return match(warp, members, t) == members ? members : 0;
        case warp_add: return fold(warp, members, [](uint32_t a, uint32_t b) { return a + b; });
        case warp_min_signed: return fold(warp, members, [](uint32_t a, uint32_t b) { return I(a) < I(b) ? a : b; });
        case warp_max_signed: return fold(warp, members, [](uint32_t a, uint32_t b) { return I(a) > I(b) ? a : b; });
        case warp_min_unsigned: return fold(warp, members, [](uint32_t a, uint32_t b) { return a < b ? a : b; });
        case warp_max_unsigned: return fold(warp, members, [](uint32_t a, uint32_t b) { return a > b ? a : b; });
        case warp_and: return fold(warp, members, [](uint32_t a, uint32_t b) { return a & b; });
        case warp_or: return fold(warp, members, [](uint32_t a, uint32_t b) { return a | b; });
        default: return fold(warp, members, [](uint32_t a, uint32_t b) { return a ^ b; });
    }
}

// What the race checker learns: the members have seen each other's accesses.
void order(Warp& warp, uint32_t members) {
    if (members == warp.live) {
        warp.full_syncs++;
        if (warp.partial) {
            warp.partial = false;
            for (auto& row : warp.seen)
                for (auto& cell : row) cell = 0;
            for (auto* lane : warp.lanes)
                if (lane) lane->partial_clock = 0;
        }
        return;
    }
    warp.partial = true;
    uint16_t joined[warp_size] = {};
    for (uint32_t i = 0; i < warp_size; ++i) {
        if (!(members >> i & 1)) continue;
        for (uint32_t j = 0; j < warp_size; ++j) joined[j] = std::max(joined[j], warp.seen[i][j]);
    }
    for (uint32_t i = 0; i < warp_size; ++i)
        if (members >> i & 1) joined[i] = ++warp.lanes[i]->partial_clock;
    for (uint32_t i = 0; i < warp_size; ++i) {
        if (!(members >> i & 1)) continue;
        for (uint32_t j = 0; j < warp_size; ++j) warp.seen[i][j] = joined[j];
    }
}

void complete(Warp& warp, uint32_t members) {
    const Thread* first = nullptr;
    for (uint32_t i = 0; i < warp_size; ++i) {
        if (!(members >> i & 1)) continue;
        auto& t = *warp.lanes[i];
        if (!first) first = &t;
        if (t.operation != first->operation || t.line != first->line) {
            report(Finding{"divergent_warp",
                           "lane " + std::to_string(first->lane) + " is at " + operation_name(first->operation) +
                               " of line " + std::to_string(first->line) + " and lane " + std::to_string(t.lane) +
                               " at " + operation_name(t.operation) + " of line " + std::to_string(t.line)},
                   t, 0);
            break;
        }
    }
    warp.block->launch->counters.warp_syncs++;
    for (uint32_t i = 0; i < warp_size; ++i)
        if (members >> i & 1) warp.lanes[i]->result = result_of(warp, members, *warp.lanes[i]);
    order(warp, members);
    warp.waiting &= ~members;
    for (uint32_t i = 0; i < warp_size; ++i)
        if ((members >> i & 1) && warp.lanes[i]->state == ThreadState::at_warp)
            warp.block->worker->make_ready(*warp.lanes[i]);
}

// Are all live lanes of this mask waiting for one another?
bool is_complete(Warp& warp, uint32_t mask) {
    const auto members = mask & warp.live;
    if ((warp.waiting & members) != members) return false;
    for (uint32_t i = 0; i < warp_size; ++i)
        if ((members >> i & 1) && warp.lanes[i]->mask != mask) return false;
    return true;
}

}  // namespace

void warp_lane_exited(Warp& warp) {
    while (warp.waiting) {
        bool progress = false;
        for (uint32_t i = 0; i < warp_size && !progress; ++i) {
            if (!(warp.waiting >> i & 1)) continue;
            const auto mask = warp.lanes[i]->mask;
            if (!is_complete(warp, mask)) continue;
            complete(warp, mask & warp.live);
            progress = true;
        }
        if (!progress) return;
    }
}

}  // namespace cudasim

using namespace cudasim;

uint64_t cudasim_warp(int operation, unsigned mask, uint64_t value, int argument, int width, unsigned line) {
    auto* self = current;
    auto& warp = *self->warp;
    self->operation = operation;
    self->mask = mask;
    self->value = value;
    self->argument = argument;
    self->width = width;
    self->line = line;
    if (!(mask >> self->lane & 1)) {
        report(Finding{"inactive_lane", std::string(operation_name(operation)) + " of line " + std::to_string(line) +
                                            ": lane " + std::to_string(self->lane) +
                                            " calls with a mask that does not name it"},
               *self, 0);
        return poison;
    }
    warp.waiting |= 1u << self->lane;
    if (is_complete(warp, mask)) {
        complete(warp, mask & warp.live);
        if (warp.block->worker->random_order()) warp.block->worker->yield();
    } else {
        warp.block->worker->wait(ThreadState::at_warp);
    }
    return self->result;
}

unsigned cudasim_active_mask() { return current->warp->live; }
