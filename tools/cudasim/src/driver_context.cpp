// Initialisation, devices, primary contexts.
#include <cstdio>
#include <algorithm>
#include <cstring>

#include "driver.h"
#include "findings.h"

namespace cudasim {

bool initialised = false;

std::recursive_mutex& driver_lock() {
    static std::recursive_mutex lock;
    return lock;
}

namespace {

thread_local std::vector<Context*> context_stack;

Context contexts[max_devices];

bool is_device(int device) { return device >= 0 && device < std::min(settings().devices, max_devices); }

}  // namespace

Context& primary_context(int device) {
    contexts[device].device = device;
    contexts[device].default_stream.context = &contexts[device];
    return contexts[device];
}

Context* current_context() { return context_stack.empty() ? nullptr : context_stack.back(); }

void set_current_context(Context* context) {
    if (!context_stack.empty()) context_stack.pop_back();
    if (context) context_stack.push_back(context);
}

int enter(Context** context) {
    if (!initialised) return 3;
    auto* c = current_context();
    if (!c) return 201;
    if (!c->active) return 709;
    if (c->sticky) return c->sticky;
    if (context) *context = c;
    return 0;
}

bool peer_enabled(int from, int to) { return (contexts[from].peers >> to & 1) && !settings().lost_peer; }

}  // namespace cudasim

using namespace cudasim;

CUDASIM_API CUresult cuInit(unsigned flags) {
    if (flags != 0) return 1;
    const int no_driver = settings().no_driver;
    if (no_driver) return no_driver == 1 ? 100 : no_driver;
    if (settings().devices <= 0) return 100;
    initialised = true;
    region_base(0);
    report_when_process_ends();
    return 0;
}

CUDASIM_API CUresult cuDriverGetVersion(int* version) {
    if (!version) return 1;
    *version = settings().driver_version;
    return 0;
}

CUDASIM_API CUresult cuDeviceGetCount(int* count) {
    if (!initialised) return 3;
    if (!count) return 1;
    *count = std::min(settings().devices, max_devices);
    return 0;
}

CUDASIM_API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    if (!initialised) return 3;
    if (!device) return 1;
    if (!is_device(ordinal)) return 101;
    *device = ordinal;
    return 0;
}

CUDASIM_API CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    if (!initialised) return 3;
    if (!name || length <= 0) return 1;
    if (!is_device(device)) return 101;
    std::snprintf(name, static_cast<size_t>(length), "Simulated CUDA device %d", device);
    return 0;
}

CUDASIM_API CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
    if (!initialised) return 3;
    if (!bytes) return 1;
    if (!is_device(device)) return 101;
    *bytes = static_cast<size_t>(settings().memory);
    return 0;
}

CUDASIM_API CUresult cuDeviceGetUuid_v2(char* uuid, CUdevice device) {
    if (!initialised) return 3;
    if (!uuid) return 1;
    if (!is_device(device)) return 101;
    std::memcpy(uuid, "cudasim-device-0", 16);
    uuid[15] = static_cast<char>('0' + device);
    return 0;
}

CUDASIM_API CUresult cuDeviceGetPCIBusId(char* id, int length, CUdevice device) {
    if (!initialised) return 3;
    if (!id || length < 13) return 1;
    if (!is_device(device)) return 101;
    std::snprintf(id, static_cast<size_t>(length), "0000:%02x:00.0", device + 1);
    return 0;
}

CUDASIM_API CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice device) {
    if (!initialised) return 3;
    if (!value) return 1;
    if (!is_device(device)) return 101;
    const auto& s = settings();
    const bool hopper = s.compute_major >= 9;
    switch (attribute) {
        case 1: *value = 1024; break;  // MAX_THREADS_PER_BLOCK
        case 2:
        case 3: *value = 1024; break;        // MAX_BLOCK_DIM_X, Y
        case 4: *value = 64; break;          // MAX_BLOCK_DIM_Z
        case 5: *value = 2147483647; break;  // MAX_GRID_DIM_X
        case 6:
        case 7: *value = 65535; break;  // MAX_GRID_DIM_Y, Z
        case 8: *value = s.shared_per_block; break;
        case 9: *value = 65536; break;  // TOTAL_CONSTANT_MEMORY
        case 10: *value = 32; break;    // WARP_SIZE
        case 12:
        case 82: *value = 65536; break;    // MAX_REGISTERS_PER_BLOCK, PER_MULTIPROCESSOR
        case 13: *value = 1000000; break;  // CLOCK_RATE in kHz: a round number, no claim
        case 16: *value = s.multiprocessors; break;
        case 19:
        case 31:
        case 41:
        case 75 + 3: *value = 1; break;       // mapped host memory, concurrent kernels, unified addresses, priorities
        case 32: *value = 0; break;           // ECC_ENABLED
        case 33: *value = device + 1; break;  // PCI_BUS_ID
        case 34:
        case 50: *value = 0; break;        // PCI_DEVICE_ID, PCI_DOMAIN_ID
        case 36: *value = 1000000; break;  // MEMORY_CLOCK_RATE
        case 37: *value = 1024; break;     // GLOBAL_MEMORY_BUS_WIDTH
        case 38: *value = 4 << 20; break;  // L2_CACHE_SIZE
        case 39: *value = s.threads_per_multiprocessor; break;
        case 40: *value = 1; break;  // ASYNC_ENGINE_COUNT
        case 75: *value = s.compute_major; break;
        case 76: *value = s.compute_minor; break;
        case 81: *value = s.shared_per_multiprocessor; break;
        case 95: *value = 1; break;  // COOPERATIVE_LAUNCH
        case 97: *value = s.shared_per_block_optin; break;
        case 99: *value = 1; break;  // HOST_REGISTER_SUPPORTED
        case 106: *value = s.blocks_per_multiprocessor; break;
        case 111: *value = 1024; break;    // RESERVED_SHARED_MEMORY_PER_BLOCK
        case 120: *value = hopper; break;  // CLUSTER_LAUNCH
        default:
            if (attribute <= 0 || attribute > 148) return 1;
            *value = 0;
    }
    return 0;
}

CUDASIM_API CUresult cuDevicePrimaryCtxRetain(void** context, CUdevice device) {
    const std::lock_guard guard(driver_lock());
    if (!initialised) return 3;
    if (!context) return 1;
    if (!is_device(device)) return 101;
    auto& c = primary_context(device);
    c.references++;
    c.active = true;
    *context = &c;
    return 0;
}

CUDASIM_API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    const std::lock_guard guard(driver_lock());
    if (!initialised) return 3;
    if (!is_device(device)) return 101;
    auto& c = primary_context(device);
    if (c.references == 0) return 201;
    if (--c.references == 0) {
        drain_all(c);
        c.active = false;
        c.sticky = 0;
        c.peers = 0;
        c.streams.clear();
    }
    return 0;
}

CUDASIM_API CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    const std::lock_guard guard(driver_lock());
    if (!initialised) return 3;
    if (!is_device(device)) return 101;
    auto& c = primary_context(device);
    c.sticky = 0;
    c.peers = 0;
    c.streams.clear();
    return 0;
}

CUDASIM_API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    if (!initialised) return 3;
    if (!flags || !active) return 1;
    if (!is_device(device)) return 101;
    *flags = primary_context(device).flags;
    *active = primary_context(device).active;
    return 0;
}

CUDASIM_API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags) {
    if (!initialised) return 3;
    if (!is_device(device)) return 101;
    primary_context(device).flags = flags;
    return 0;
}

CUDASIM_API CUresult cuCtxSetCurrent(void* context) {
    if (!initialised) return 3;
    set_current_context(static_cast<Context*>(context));
    return 0;
}

CUDASIM_API CUresult cuCtxGetCurrent(void** context) {
    if (!initialised) return 3;
    if (!context) return 1;
    *context = current_context();
    return 0;
}

CUDASIM_API CUresult cuCtxPushCurrent_v2(void* context) {
    if (!initialised) return 3;
    if (!context) return 201;
    context_stack.push_back(static_cast<Context*>(context));
    return 0;
}

CUDASIM_API CUresult cuCtxPopCurrent_v2(void** context) {
    if (!initialised) return 3;
    if (context_stack.empty()) return 201;
    if (context) *context = context_stack.back();
    context_stack.pop_back();
    return 0;
}

CUDASIM_API CUresult cuCtxGetDevice(CUdevice* device) {
    if (!initialised) return 3;
    if (!device) return 1;
    if (!current_context()) return 201;
    *device = current_context()->device;
    return 0;
}

CUDASIM_API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    CUDASIM_ENTER(context);
    (void)context;
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return 0;
}

CUDASIM_API CUresult cuCtxSetLimit(int, size_t) {
    CUDASIM_ENTER(context);
    (void)context;
    return 0;
}

CUDASIM_API CUresult cuCtxSynchronize() {
    CUDASIM_ENTER(context);
    if (const int refused = refuse_in_capture()) return refused;
    return drain_all(*context);
}

CUDASIM_API CUresult cuDeviceCanAccessPeer(int* can, CUdevice device, CUdevice peer) {
    if (!initialised) return 3;
    if (!can) return 1;
    if (!is_device(device) || !is_device(peer)) return 101;
    *can = device != peer && settings().peer_access && !settings().lost_peer;
    return 0;
}

CUDASIM_API CUresult cuDeviceGetP2PAttribute(int* value, int attribute, CUdevice from, CUdevice to) {
    int can = 0;
    if (const int error = cuDeviceCanAccessPeer(&can, from, to)) return error;
    if (!value || attribute < 1 || attribute > 4) return 1;
    *value = attribute == 1 ? 0 : can;  // 1 is the performance rank
    return 0;
}

CUDASIM_API CUresult cuCtxEnablePeerAccess(void* peer, unsigned flags) {
    CUDASIM_ENTER(context);
    if (flags != 0) return 1;
    auto* other = static_cast<Context*>(peer);
    if (!other || other == context) return 101;
    if (!settings().peer_access || settings().lost_peer) return 217;
    if (context->peers >> other->device & 1) return 704;
    context->peers |= uint64_t{1} << other->device;
    return 0;
}

CUDASIM_API CUresult cuCtxDisablePeerAccess(void* peer) {
    CUDASIM_ENTER(context);
    auto* other = static_cast<Context*>(peer);
    if (!other || !(context->peers >> other->device & 1)) return 705;
    context->peers &= ~(uint64_t{1} << other->device);
    return 0;
}
