// Device memory: one address range per virtual device, allocations with guards between them, freed memory kept in
// quarantine.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace cudasim {

constexpr int max_devices = 16;

uintptr_t region_base(int device);
// The device whose range holds the address, or -1.
int region_of(uintptr_t address);
size_t region_offset(uintptr_t address);

// A CUresult; zero-byte requests are the caller's to refuse.
int allocate(int device, size_t bytes, uintptr_t& address);
int release(uintptr_t address);
bool find_allocation(uintptr_t address, uintptr_t& base, size_t& bytes);
size_t allocated_bytes(int device);
void name_range(uintptr_t address, size_t bytes, const std::string& name);
void poison_range(uintptr_t address, size_t bytes, bool usable, bool initialised);
// What an address belongs to, in words.
std::string describe_address(uintptr_t address);
// Reports every live allocation as a leak; the number of them.
size_t report_leaks();
// Are all these bytes inside one live allocation?
bool is_range_live(uintptr_t address, size_t bytes);
void mark_written(uintptr_t address, size_t bytes);
void copy_initialised(uintptr_t to, uintptr_t from, size_t bytes);

bool is_host_pinned(uintptr_t address);
void add_host_range(uintptr_t address, size_t bytes, bool registered);
bool remove_host_range(uintptr_t address, bool registered);

bool peer_enabled(int from, int to);

}  // namespace cudasim
