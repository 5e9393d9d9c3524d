// Traffic: the accesses of a warp's lanes are put together by code address and repetition, which is how the hardware
// sees them; each such request is then cut into 32-byte sectors (global memory) or bank wavefronts (shared memory).
#include "traffic.h"

#include <algorithm>
#include <array>

#include "settings.h"
#include "shadow.h"

namespace cudasim {
namespace {

constexpr uint64_t sector_bytes = 32;
constexpr unsigned banks = 32;

struct Request {
    uintptr_t pc;
    uint8_t kind;
    unsigned count = 0;
    std::array<uint64_t, warp_size> address;
    std::array<uint8_t, warp_size> size;
};

void count_global(const Request& q, Counters& c, SiteTraffic& site) {
    uint64_t sectors[warp_size * 2], bytes = 0;
    unsigned n = 0;
    for (unsigned i = 0; i < q.count; ++i) {
        bytes += q.size[i];
        const auto last = (q.address[i] + q.size[i] - 1) / sector_bytes;
        for (auto s = q.address[i] / sector_bytes; s <= last; ++s) sectors[n++] = s;
    }
    if (!std::is_sorted(sectors, sectors + n)) std::sort(sectors, sectors + n);
    const auto distinct = static_cast<uint64_t>(std::unique(sectors, sectors + n) - sectors);
    // The fewest sectors that could hold the distinct bytes asked for.
    std::array<std::pair<uint64_t, uint64_t>, warp_size> ranges;
    for (unsigned i = 0; i < q.count; ++i) ranges[i] = {q.address[i], q.address[i] + q.size[i]};
    if (!std::is_sorted(ranges.begin(), ranges.begin() + q.count)) std::sort(ranges.begin(), ranges.begin() + q.count);
    uint64_t unique_bytes = 0, reached = 0;
    for (unsigned i = 0; i < q.count; ++i) {
        const auto from = std::max(ranges[i].first, reached);
        if (ranges[i].second > from) unique_bytes += ranges[i].second - from;
        reached = std::max(reached, ranges[i].second);
    }
    const auto ideal = (unique_bytes + sector_bytes - 1) / sector_bytes;
    site.requests++;
    site.bytes += bytes;
    site.sectors += distinct;
    site.ideal_sectors += ideal;
    if (q.kind & access_atomic && !(q.kind & access_volatile)) return;  // atomics are counted by themselves
    if (q.kind & access_write) {
        c.global_write_bytes += bytes;
        c.global_write_requests++;
        c.global_write_sectors += distinct;
        c.global_write_ideal_sectors += ideal;
    } else {
        c.global_read_bytes += bytes;
        c.global_read_requests++;
        c.global_read_sectors += distinct;
        c.global_read_ideal_sectors += ideal;
    }
}

// 8-byte accesses go by half warps and 16-byte accesses by quarter warps; within one such phase, every distinct word of
// a bank beyond the first costs one more pass.
void count_shared(const Request& q, Counters& c, SiteTraffic& site) {
    const unsigned widest = *std::max_element(q.size.begin(), q.size.begin() + q.count);
    const unsigned phase_lanes = widest <= 4 ? warp_size : widest <= 8 ? warp_size / 2 : warp_size / 4;
    uint64_t wavefronts = 0, phases = 0, bytes = 0, max_ways = 0;
    for (unsigned first = 0; first < q.count; first += phase_lanes) {
        std::array<std::array<uint64_t, warp_size * 4>, banks> words;
        std::array<unsigned, banks> used{};
        const auto last = std::min(q.count, first + phase_lanes);
        for (unsigned i = first; i < last; ++i) {
            bytes += q.size[i];
            for (auto w = q.address[i] / 4; w <= (q.address[i] + q.size[i] - 1) / 4; ++w) {
                auto& list = words[w % banks];
                auto& n = used[w % banks];
                if (std::find(list.begin(), list.begin() + n, w) == list.begin() + n) list[n++] = w;
            }
        }
        const auto ways = *std::max_element(used.begin(), used.end());
        max_ways = std::max<uint64_t>(max_ways, ways);
        wavefronts += ways;
        phases++;
    }
    site.requests++;
    site.bytes += bytes;
    site.wavefronts += wavefronts;
    site.ideal_wavefronts += phases;
    site.max_ways = std::max(site.max_ways, max_ways);
    if (q.kind & access_remote) c.remote_shared_bytes += bytes;
    if (q.kind & access_atomic && !(q.kind & access_volatile)) return;
    (q.kind & access_write ? c.shared_write_bytes : c.shared_read_bytes) += bytes;
    c.shared_requests++;
    c.shared_wavefronts += wavefronts;
    c.shared_excess_wavefronts += wavefronts - phases;
    c.shared_max_ways = std::max(c.shared_max_ways, max_ways);
}

void count(const Request& q, Counters& c) {
    auto& site = c.sites[q.pc];
    site.kind = q.kind;
    if (q.kind & access_shared)
        count_shared(q, c, site);
    else
        count_global(q, c, site);
}

void add(Request& q, const AccessEntry& e) {
    q.pc = e.pc;
    q.kind = e.kind;
    q.address[q.count] = e.address;
    q.size[q.count] = e.size;
    q.count++;
}

// All lanes did the same things in the same order.
bool is_uniform(const Warp& warp, const Thread* const* lanes, unsigned n) {
    (void)warp;
    const auto& reference = lanes[0]->accesses;
    for (unsigned i = 1; i < n; ++i) {
        const auto& other = lanes[i]->accesses;
        if (other.size() != reference.size()) return false;
        for (size_t k = 0; k < reference.size(); ++k)
            if (other[k].pc != reference[k].pc || other[k].kind != reference[k].kind) return false;
    }
    return true;
}

void flush_warp(Warp& warp, Counters& counters) {
    Thread* lanes[warp_size];
    unsigned n = 0;
    for (auto* lane : warp.lanes)
        if (lane && !lane->accesses.empty()) lanes[n++] = lane;
    if (n == 0) return;
    if (is_uniform(warp, lanes, n)) {
        for (size_t k = 0; k < lanes[0]->accesses.size(); ++k) {
            Request q;
            for (unsigned i = 0; i < n; ++i) add(q, lanes[i]->accesses[k]);
            count(q, counters);
        }
    } else {
        // Lanes that took different ways: the i-th time one instruction runs in a lane belongs to the i-th time
        // elsewhere.
        struct Key {
            uintptr_t pc;
            uint32_t occurrence, lane, index;
        };
        std::vector<Key> keys;
        for (unsigned i = 0; i < n; ++i) {
            std::unordered_map<uintptr_t, uint32_t> seen;
            for (uint32_t k = 0; k < lanes[i]->accesses.size(); ++k) {
                const auto pc = lanes[i]->accesses[k].pc;
                keys.push_back({pc, seen[pc]++, i, k});
            }
        }
        std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
            return a.pc != b.pc                   ? a.pc < b.pc
                   : a.occurrence != b.occurrence ? a.occurrence < b.occurrence
                                                  : a.lane < b.lane;
        });
        for (size_t first = 0; first < keys.size();) {
            Request q;
            size_t k = first;
            for (; k < keys.size() && keys[k].pc == keys[first].pc && keys[k].occurrence == keys[first].occurrence; ++k)
                add(q, lanes[keys[k].lane]->accesses[keys[k].index]);
            count(q, counters);
            first = k;
        }
    }
    for (unsigned i = 0; i < n; ++i) lanes[i]->accesses.clear();
}

}  // namespace

void flush_block(Block& block) {
    if (!settings().traffic) return;
    for (auto& warp : block.warps) flush_warp(warp, block.launch->counters);
}

}  // namespace cudasim
