#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "findings.h"
#include "settings.h"
#include "shadow.h"

namespace cudasim {
namespace {

constexpr size_t alignment = 256;
constexpr size_t region_bytes = size_t{1} << 36;  // address range of a device; only touched pages exist
constexpr size_t quarantine_bytes = size_t{256} << 20;

struct Allocation {
    size_t bytes, reserved;  // reserved includes the guards; the allocation starts guard bytes into it
    size_t guard;
    uint64_t serial;
};

struct Device {
    std::map<uintptr_t, Allocation> live, freed;
    std::multimap<size_t, uintptr_t> holes;  // size of a reusable range -> its start
    std::deque<uintptr_t> quarantine;
    size_t quarantined = 0, next = 0, in_use = 0;
    uint64_t serial = 0;
    std::map<uintptr_t, std::pair<size_t, std::string>> names;
    Shadow shadow;
};

std::recursive_mutex lock;
Device devices[max_devices];
uintptr_t base = 0;
std::map<uintptr_t, std::pair<size_t, bool>> host_ranges;

uintptr_t map_regions() {
    void* memory = mmap(nullptr, region_bytes * max_devices, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::fprintf(stderr, "cudasim: cannot reserve address space for device memory\n");
        std::abort();
    }
    return (reinterpret_cast<uintptr_t>(memory) + 4095) / 4096 * 4096;
}

bool tracks() { return settings().checked(); }

// Moves the oldest freed allocations to the reusable ranges until the quarantine is small enough.
void shrink_quarantine(Device& d, size_t limit) {
    while (d.quarantined > limit && !d.quarantine.empty()) {
        const auto address = d.quarantine.front();
        d.quarantine.pop_front();
        const auto found = d.freed.find(address);
        d.quarantined -= found->second.reserved;
        d.holes.emplace(found->second.reserved, address - found->second.guard);
        d.freed.erase(found);
    }
}

const std::pair<const uintptr_t, Allocation>* nearest(const std::map<uintptr_t, Allocation>& map, uintptr_t address) {
    auto after = map.upper_bound(address);
    const std::pair<const uintptr_t, Allocation>* best = nullptr;
    if (after != map.begin()) best = &*std::prev(after);
    if (best && address < best->first + best->second.reserved - best->second.guard) return best;
    if (after != map.end() && after->first - address <= after->second.guard) return &*after;
    return nullptr;
}

}  // namespace

uintptr_t region_base(int device) {
    static const uintptr_t mapped = base = map_regions();
    return mapped + static_cast<size_t>(device) * region_bytes;
}

int region_of(uintptr_t address) {
    if (!base || address < base) return -1;
    const auto device = (address - base) / region_bytes;
    return device < max_devices ? static_cast<int>(device) : -1;
}

size_t region_offset(uintptr_t address) { return (address - base) % region_bytes; }

Shadow& device_shadow(int device) {
    auto& shadow = devices[device].shadow;
    if (!shadow.mapped()) shadow.reserve(region_bytes);
    if (settings().check_race && !shadow.races_mapped()) shadow.reserve_races();
    return shadow;
}

int allocate(int device, size_t bytes, uintptr_t& address) {
    const std::lock_guard guard_lock(lock);
    static int64_t count = 0;
    static int64_t armed_at = 0, armed_for = 0;
    auto& s = settings();
    if (s.fail_alloc_at != armed_for) {  // counts from the moment it was set
        armed_for = s.fail_alloc_at;
        armed_at = count;
    }
    count++;
    auto& d = devices[device];
    if (s.fail_alloc_at > 0 && count - armed_at == s.fail_alloc_at) return 2;
    if (s.fail_alloc_above >= 0 && d.in_use + bytes > static_cast<size_t>(s.fail_alloc_above)) return 2;
    if (d.in_use + bytes > static_cast<size_t>(s.memory)) return 2;

    const auto room = (bytes + alignment - 1) / alignment * alignment;
    const size_t guard = tracks() ? std::clamp<size_t>(room / 8 / alignment * alignment, 1024, 65536) : alignment;
    const auto reserved = room + 2 * guard;
    uintptr_t start = 0;
    const auto hole = d.holes.lower_bound(reserved);
    size_t taken = reserved;
    if (hole != d.holes.end() && hole->first <= 2 * reserved) {
        taken = hole->first;
        start = hole->second;
        d.holes.erase(hole);
    } else {
        if (d.next + reserved > region_bytes) return 2;
        start = region_base(device) + d.next;
        d.next += reserved;
    }
    address = start + guard;
    d.live[address] = {bytes, taken, guard, ++d.serial};
    d.in_use += bytes;
    if (tracks()) {
        device_shadow(device).forget(region_offset(start), taken);
        device_shadow(device).set(region_offset(address), bytes, byte_addressable);
        std::memset(reinterpret_cast<void*>(address), 0xFF, std::min<size_t>(bytes, size_t{64} << 20));
    }
    return 0;
}

int release(uintptr_t address) {
    const std::lock_guard guard_lock(lock);
    const int device = region_of(address);
    if (device < 0) return 1;
    auto& d = devices[device];
    const auto found = d.live.find(address);
    if (found == d.live.end()) return 1;
    const auto allocation = found->second;
    d.live.erase(found);
    d.in_use -= allocation.bytes;
    for (auto name = d.names.lower_bound(address); name != d.names.end() && name->first < address + allocation.bytes;)
        name = d.names.erase(name);
    d.freed[address] = allocation;
    d.quarantine.push_back(address);
    d.quarantined += allocation.reserved;
    if (tracks() || d.shadow.mapped()) device_shadow(device).forget(region_offset(address), allocation.bytes);
    const auto first = (address + 4095) / 4096 * 4096, last = (address + allocation.bytes) / 4096 * 4096;
    if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    shrink_quarantine(d, tracks() ? quarantine_bytes : 0);
    return 0;
}

bool find_allocation(uintptr_t address, uintptr_t& start, size_t& bytes) {
    const std::lock_guard guard_lock(lock);
    const int device = region_of(address);
    if (device < 0) return false;
    auto& live = devices[device].live;
    auto after = live.upper_bound(address);
    if (after == live.begin()) return false;
    --after;
    if (address >= after->first + std::max<size_t>(after->second.bytes, 1)) return false;
    start = after->first;
    bytes = after->second.bytes;
    return true;
}

bool is_range_live(uintptr_t address, size_t bytes) {
    uintptr_t start;
    size_t size;
    return find_allocation(address, start, size) && address + bytes <= start + size;
}

size_t allocated_bytes(int device) { return devices[device].in_use; }

void name_range(uintptr_t address, size_t bytes, const std::string& name) {
    const std::lock_guard guard_lock(lock);
    const int device = region_of(address);
    if (device >= 0) devices[device].names[address] = {bytes, name};
}

void poison_range(uintptr_t address, size_t bytes, bool usable, bool initialised) {
    const std::lock_guard guard_lock(lock);
    const int device = region_of(address);
    if (device < 0 || !tracks()) return;
    device_shadow(device).set(
        region_offset(address), bytes,
        static_cast<uint8_t>((usable ? byte_addressable : 0) | (usable && initialised ? byte_initialised : 0)));
}

std::string describe_address(uintptr_t address) {
    const std::lock_guard guard_lock(lock);
    const int device = region_of(address);
    if (device < 0) return "an address outside device memory";
    auto& d = devices[device];
    std::string text;
    const auto after = d.names.upper_bound(address);
    if (after != d.names.begin()) {
        const auto& [start, range] = *std::prev(after);
        if (address < start + range.first + alignment)
            text = "'" + range.second + "' of " + std::to_string(range.first) + " bytes, offset " +
                   std::to_string(address - start) + "; ";
    }
    if (const auto* a = nearest(d.live, address))
        return text + "allocation #" + std::to_string(a->second.serial) + " of " + std::to_string(a->second.bytes) +
               " bytes on device " + std::to_string(device) + ", offset " +
               std::to_string(static_cast<int64_t>(address) - static_cast<int64_t>(a->first));
    if (const auto* a = nearest(d.freed, address))
        return text + "freed allocation #" + std::to_string(a->second.serial) + " of " +
               std::to_string(a->second.bytes) + " bytes on device " + std::to_string(device) + ", offset " +
               std::to_string(static_cast<int64_t>(address) - static_cast<int64_t>(a->first));
    return text + "no allocation of device " + std::to_string(device);
}

size_t report_leaks() {
    const std::lock_guard guard_lock(lock);
    size_t leaks = 0;
    for (int device = 0; device < max_devices; ++device) {
        for (const auto& [address, a] : devices[device].live) {
            report(Finding{"leak",
                           "allocation #" + std::to_string(a.serial) + " of " + std::to_string(a.bytes) +
                               " bytes on device " + std::to_string(device) + " was never freed",
                           address});
            leaks++;
        }
    }
    return leaks;
}

void mark_written(uintptr_t address, size_t bytes) {
    const int device = region_of(address);
    if (device < 0 || !tracks() || bytes == 0) return;
    device_shadow(device).set(region_offset(address), bytes, byte_addressable | byte_initialised);
}

void copy_initialised(uintptr_t to, uintptr_t from, size_t bytes) {
    const int to_device = region_of(to), from_device = region_of(from);
    if (!tracks() || to_device < 0 || bytes == 0) return;
    if (from_device < 0) return mark_written(to, bytes);
    std::memmove(device_shadow(to_device).states(region_offset(to)),
                 device_shadow(from_device).states(region_offset(from)), bytes);
}

// Memory that was written while nobody watched counts as initialised.
void on_watch_begins() {
    const std::lock_guard guard_lock(lock);
    for (int device = 0; device < max_devices; ++device)
        for (const auto& [address, a] : devices[device].live)
            device_shadow(device).set(region_offset(address), a.bytes, byte_addressable | byte_initialised);
}

bool is_host_pinned(uintptr_t address) {
    const std::lock_guard guard_lock(lock);
    const auto after = host_ranges.upper_bound(address);
    return after != host_ranges.begin() && address < std::prev(after)->first + std::prev(after)->second.first;
}

void add_host_range(uintptr_t address, size_t bytes, bool registered) {
    const std::lock_guard guard_lock(lock);
    host_ranges[address] = {bytes, registered};
}

bool remove_host_range(uintptr_t address, bool registered) {
    const std::lock_guard guard_lock(lock);
    const auto found = host_ranges.find(address);
    if (found == host_ranges.end() || found->second.second != registered) return false;
    host_ranges.erase(found);
    return true;
}

}  // namespace cudasim
