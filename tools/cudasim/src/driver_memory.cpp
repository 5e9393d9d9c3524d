// Allocation, copies and fills.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "driver.h"
#include "findings.h"

namespace cudasim {
namespace {

// May these bytes be copied from or to? Host memory is the caller's business.
bool is_usable(uintptr_t address, size_t bytes) {
    return region_of(address) < 0 || bytes == 0 || is_range_live(address, bytes);
}

}  // namespace

int copy_bytes(uintptr_t to, uintptr_t from, size_t bytes) {
    if (bytes == 0) return 0;
    if (!is_usable(to, bytes) || !is_usable(from, bytes)) {
        const auto bad = is_usable(to, bytes) ? from : to;
        report(
            Finding{"out_of_bounds", "a copy of " + std::to_string(bytes) + " bytes: " + describe_address(bad), bad});
        return 1;
    }
    const int to_device = region_of(to), from_device = region_of(from);
    if (to_device >= 0 && from_device >= 0 && to_device != from_device && settings().lost_peer) return 220;
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    copy_initialised(to, from, bytes);
    return 0;
}

int fill_bytes(uintptr_t to, const void* pattern, size_t pattern_bytes, size_t count) {
    if (count == 0) return 0;
    if (region_of(to) < 0 || !is_range_live(to, pattern_bytes * count)) {
        report(Finding{"out_of_bounds",
                       "a fill of " + std::to_string(pattern_bytes * count) + " bytes: " + describe_address(to), to});
        return 1;
    }
    auto* out = reinterpret_cast<uint8_t*>(to);
    if (pattern_bytes == 1)
        std::memset(out, *static_cast<const uint8_t*>(pattern), count);
    else
        for (size_t i = 0; i < count; ++i) std::memcpy(out + i * pattern_bytes, pattern, pattern_bytes);
    mark_written(to, pattern_bytes * count);
    return 0;
}

namespace {

int copy(uintptr_t to, uintptr_t from, size_t bytes) {
    CUDASIM_ENTER(context);
    if (!is_usable(to, bytes) || !is_usable(from, bytes)) return copy_bytes(to, from, bytes);
    return submit_and_wait(*context, {node_memcpy, [=] { return copy_bytes(to, from, bytes); }, {}, "memcpy"});
}

int copy_async(uintptr_t to, uintptr_t from, size_t bytes, void* handle) {
    CUDASIM_ENTER(context);
    auto* stream = stream_of(*context, handle);
    if (!stream) return 400;
    if (!is_usable(to, bytes) || !is_usable(from, bytes)) return copy_bytes(to, from, bytes);
    const auto is_pageable = [](uintptr_t a) { return region_of(a) < 0 && !is_host_pinned(a); };
    const bool pageable = is_pageable(to) || is_pageable(from);
    if (const int error = submit(*stream, {node_memcpy, [=] { return copy_bytes(to, from, bytes); }, {}, "memcpy"}))
        return error;
    // Memory that is not pinned is staged: the call does not return before its bytes are taken or delivered.
    return pageable && !stream->capture ? drain(*stream) : 0;
}

template <class T>
int fill(uintptr_t to, T value, size_t count, void* handle, bool async) {
    CUDASIM_ENTER(context);
    if (to % sizeof(T) != 0) return 1;
    if (!is_range_live(to, sizeof(T) * count) && count) return fill_bytes(to, &value, sizeof(T), count);
    Operation operation{node_memset, [=] { return fill_bytes(to, &value, sizeof(T), count); }, {}, "memset"};
    if (!async) return submit_and_wait(*context, std::move(operation));
    auto* stream = stream_of(*context, handle);
    return stream ? submit(*stream, std::move(operation)) : 400;
}

uintptr_t number(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace
}  // namespace cudasim

using namespace cudasim;

CUDASIM_API CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
    CUDASIM_ENTER(context);
    if (!pointer || bytes == 0) return 1;
    if (const int refused = refuse_in_capture()) return refused;
    uintptr_t address = 0;
    if (const int error = allocate(context->device, bytes, address)) return error;
    *pointer = address;
    return 0;
}

CUDASIM_API CUresult cuMemFree_v2(CUdeviceptr pointer) {
    CUDASIM_ENTER(context);
    if (pointer == 0) return 0;
    if (const int refused = refuse_in_capture()) return refused;
    if (const int error = drain_all(*context)) return error;
    return release(pointer);
}

CUDASIM_API CUresult cuMemAllocAsync(CUdeviceptr* pointer, size_t bytes, void* stream) {
    CUDASIM_ENTER(context);
    if (!pointer || bytes == 0) return 1;
    auto* s = stream_of(*context, stream);
    if (!s) return 400;
    if (s->capture) return 801;
    uintptr_t address = 0;
    if (const int error = allocate(context->device, bytes, address)) return error;
    *pointer = address;
    return 0;
}

CUDASIM_API CUresult cuMemFreeAsync(CUdeviceptr pointer, void* stream) {
    CUDASIM_ENTER(context);
    auto* s = stream_of(*context, stream);
    if (!s) return 400;
    if (s->capture) return 801;
    if (const int error = drain(*s)) return error;
    return release(pointer);
}

CUDASIM_API CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
    CUDASIM_ENTER(context);
    if (total) *total = static_cast<size_t>(settings().memory);
    if (free) {
        auto limit = static_cast<size_t>(settings().memory);
        if (settings().fail_alloc_above >= 0) limit = std::min(limit, static_cast<size_t>(settings().fail_alloc_above));
        const auto used = allocated_bytes(context->device);
        *free = used < limit ? limit - used : 0;
    }
    return 0;
}

CUDASIM_API CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* size, CUdeviceptr pointer) {
    CUDASIM_ENTER(context);
    (void)context;
    uintptr_t start;
    size_t bytes;
    if (!find_allocation(pointer, start, bytes)) return 500;
    if (base) *base = start;
    if (size) *size = bytes;
    return 0;
}

CUDASIM_API CUresult cuPointerGetAttribute(void* data, int attribute, CUdeviceptr pointer) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!data) return 1;
    uintptr_t start;
    size_t bytes;
    const bool device = find_allocation(pointer, start, bytes), host = is_host_pinned(pointer);
    if (!device && !host) return 1;
    switch (attribute) {
        case 1:
            *static_cast<void**>(data) = device ? &primary_context(region_of(pointer)) : nullptr;
            return 0;                                                                  // CONTEXT
        case 2: *static_cast<unsigned*>(data) = device ? 2 : 1; return 0;              // MEMORY_TYPE
        case 3: *static_cast<CUdeviceptr*>(data) = pointer; return 0;                  // DEVICE_POINTER
        case 9: *static_cast<int*>(data) = device ? region_of(pointer) : 0; return 0;  // DEVICE_ORDINAL
        default: return 801;
    }
}

CUDASIM_API CUresult cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!pointer || bytes == 0) return 1;
    if (const int refused = refuse_in_capture()) return refused;
    void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!memory) return 2;
    add_host_range(number(memory), bytes, false);
    *pointer = memory;
    return 0;
}

CUDASIM_API CUresult cuMemAllocHost_v2(void** pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

CUDASIM_API CUresult cuMemFreeHost(void* pointer) {
    CUDASIM_ENTER(context);
    if (const int refused = refuse_in_capture()) return refused;
    drain_all(*context);
    if (!remove_host_range(number(pointer), false)) return 1;
    std::free(pointer);
    return 0;
}

CUDASIM_API CUresult cuMemHostRegister_v2(void* pointer, size_t bytes, unsigned) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!pointer || bytes == 0) return 1;
    if (is_host_pinned(number(pointer))) return 712;
    add_host_range(number(pointer), bytes, true);
    return 0;
}

CUDASIM_API CUresult cuMemHostUnregister(void* pointer) {
    CUDASIM_ENTER(context);
    (void)context;
    return remove_host_range(number(pointer), true) ? 0 : 713;
}

CUDASIM_API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* device, void* pointer, unsigned) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!device || !is_host_pinned(number(pointer))) return 1;
    *device = number(pointer);
    return 0;
}

CUDASIM_API CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy(to, from, bytes); }
CUDASIM_API CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, void* stream) {
    return copy_async(to, from, bytes, stream);
}
CUDASIM_API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    return copy(to, number(from), bytes);
}
CUDASIM_API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) { return copy(number(to), from, bytes); }
CUDASIM_API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy(to, from, bytes); }
CUDASIM_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, void* stream) {
    return copy_async(to, number(from), bytes, stream);
}
CUDASIM_API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, void* stream) {
    return copy_async(number(to), from, bytes, stream);
}
CUDASIM_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void* stream) {
    return copy_async(to, from, bytes, stream);
}
CUDASIM_API CUresult cuMemcpyPeer(CUdeviceptr to, void*, CUdeviceptr from, void*, size_t bytes) {
    return copy(to, from, bytes);
}
CUDASIM_API CUresult cuMemcpyPeerAsync(CUdeviceptr to, void*, CUdeviceptr from, void*, size_t bytes, void* stream) {
    return copy_async(to, from, bytes, stream);
}
CUDASIM_API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t n) {
    return fill(to, value, n, nullptr, false);
}
CUDASIM_API CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t n) {
    return fill(to, value, n, nullptr, false);
}
CUDASIM_API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t n) {
    return fill(to, value, n, nullptr, false);
}
CUDASIM_API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t n, void* s) {
    return fill(to, value, n, s, true);
}
CUDASIM_API CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t n, void* s) {
    return fill(to, value, n, s, true);
}
CUDASIM_API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t n, void* s) {
    return fill(to, value, n, s, true);
}
