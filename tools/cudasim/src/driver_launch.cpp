// Modules, functions and launches.
#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include "driver.h"
#include "traffic.h"

namespace cudasim {
namespace {

struct LaunchAttribute {  // CUlaunchAttribute
    int id;
    char pad[4];
    union {
        char bytes[64];
        int cooperative;
        struct {
            unsigned x, y, z;
        } cluster;
    } value;
};
static_assert(sizeof(LaunchAttribute) == 72);

struct LaunchConfig {  // CUlaunchConfig
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
    void* stream;
    LaunchAttribute* attributes;
    unsigned attribute_count;
};
static_assert(sizeof(LaunchConfig) == 56);

int blocks_per_multiprocessor(const Function& f, uint64_t threads, size_t dynamic) {
    const auto& s = settings();
    const auto rounded = static_cast<int64_t>((threads + warp_size - 1) / warp_size * warp_size);
    if (rounded == 0 || threads > f.max_threads || dynamic > static_cast<size_t>(f.dynamic_limit)) return 0;
    const auto shared = static_cast<int64_t>(dynamic) + f.static_shared_seen + 1024;
    return static_cast<int>(std::min<int64_t>(
        {s.blocks_per_multiprocessor, s.threads_per_multiprocessor / rounded, s.shared_per_multiprocessor / shared}));
}

struct KernelCall {
    Function* function;
    Dim3 grid, block, cluster;
    size_t dynamic;
    bool cooperative;
    std::vector<std::vector<uint64_t>> values;  // the arguments, copied at the call

    int run(int device) const {
        if (const int fault = launch_fault()) return fault;
        std::string log;
        const auto* image = function->module->image(settings().checked(), log);
        const auto* entry = image ? find_entry(*image, function->name) : nullptr;
        if (!entry) {
            std::fprintf(stderr, "cudasim: kernel %s could not be built for the checks now switched on:\n%s",
                         function->name.c_str(), log.c_str());
            return 719;
        }
        std::vector<void*> pointers;
        for (const auto& value : values) pointers.push_back(const_cast<uint64_t*>(value.data()));
        static uint64_t launches = 0;
        Launch launch;
        launch.kernel = function->name;
        launch.thunk = entry->thunk;
        launch.arguments = pointers.data();
        launch.image = image;
        launch.device = device;
        launch.grid = grid;
        launch.block = block;
        launch.cluster = cluster;
        launch.dynamic_shared = dynamic;
        launch.shared_limit = static_cast<size_t>(function->dynamic_limit > settings().shared_per_block
                                                      ? settings().shared_per_block_optin
                                                      : settings().shared_per_block);
        launch.cooperative = cooperative;
        launch.number = ++launches;
        const int error = run_launch(launch);
        function->static_shared_seen = std::max(function->static_shared_seen, static_cast<int>(launch.static_shared));
        return error;
    }
};

int launch(Function* f, Dim3 grid, Dim3 block, Dim3 cluster, size_t dynamic, bool cooperative, void* stream_handle,
           void** parameters, void** extra) {
    CUDASIM_ENTER(context);
    if (!f) return 400;
    auto* stream = stream_of(*context, stream_handle);
    if (!stream) return 400;
    if (extra) return 801;
    if (!parameters && !f->sizes.empty()) return 1;
    const auto& s = settings();
    const auto threads = block.count();
    if (grid.count() == 0 || threads == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024)
        return 1;
    if (grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) return 1;
    if (threads > f->max_threads) return 701;
    if (dynamic > static_cast<size_t>(f->dynamic_limit)) return 1;
    if (cluster.count() == 1 && f->cluster[0]) cluster = {f->cluster[0], f->cluster[1], f->cluster[2]};
    if (cluster.count() > 1) {
        const bool whole = cluster.x && cluster.y && cluster.z && grid.x % cluster.x == 0 && grid.y % cluster.y == 0 &&
                           grid.z % cluster.z == 0;
        const auto most = f->non_portable_cluster ? uint64_t{16} : static_cast<uint64_t>(s.max_cluster);
        if (s.compute_major < 9) return 801;
        if (!whole || cluster.count() > most) return 912;
    }
    if (cooperative && grid.count() > static_cast<uint64_t>(s.multiprocessors) *
                                          static_cast<uint64_t>(blocks_per_multiprocessor(*f, threads, dynamic)))
        return 720;
    auto call = std::make_shared<KernelCall>(KernelCall{f, grid, block, cluster, dynamic, cooperative, {}});
    for (size_t i = 0; i < f->sizes.size(); ++i) {
        if (!parameters[i]) return 1;
        std::vector<uint64_t> value((f->sizes[i] + 15) / 16 * 2);
        std::memcpy(value.data(), parameters[i], f->sizes[i]);
        call->values.push_back(std::move(value));
    }
    const int device = stream->context->device;
    return submit(*stream, {node_kernel, [call = std::move(call), device] { return call->run(device); }, {}, f->name});
}

}  // namespace

int launch_fault() {
    static int64_t counts[3] = {0, 0, 0}, armed[3] = {0, 0, 0};
    auto& s = settings();
    const int64_t wanted[3] = {s.fail_launch_at, s.illegal_address_at, s.ecc_at};
    constexpr int codes[3] = {719, 700, 214};
    for (int i = 0; i < 3; ++i) {  // each counts from the moment it was set, and strikes once
        if (wanted[i] != armed[i]) {
            armed[i] = wanted[i];
            counts[i] = 0;
        }
        if (wanted[i] > 0 && ++counts[i] == wanted[i]) return codes[i];
    }
    return 0;
}

}  // namespace cudasim

using namespace cudasim;

CUDASIM_API CUresult cuModuleLoadDataEx(void** out, const void* image, unsigned, int*, void**) {
    CUDASIM_ENTER(context);
    if (!out || !image) return 1;
    if (const int refused = refuse_in_capture()) return refused;
    if (settings().driver_version < 12000) return 35;
    auto module = std::make_unique<Module>();
    if (const int error = load_module(image, context->device, *module)) return error;
    *out = module.release();
    return 0;
}

CUDASIM_API CUresult cuModuleLoadData(void** out, const void* image) {
    return cuModuleLoadDataEx(out, image, 0, nullptr, nullptr);
}

CUDASIM_API CUresult cuModuleUnload(void* module) {
    CUDASIM_ENTER(context);
    if (!module) return 400;
    drain_all(*context);
    delete static_cast<Module*>(module);
    return 0;
}

CUDASIM_API CUresult cuModuleGetFunction(void** out, void* module, const char* name) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!out || !name) return 1;
    if (!module) return 400;
    *out = find_function(*static_cast<Module*>(module), name);
    return *out ? 0 : 500;
}

CUDASIM_API CUresult cuModuleGetGlobal_v2(CUdeviceptr* pointer, size_t* bytes, void* module, const char* name) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!module || !name) return 1;
    std::string log;
    const auto* image = static_cast<Module*>(module)->image(settings().checked(), log);
    void* address = image ? dlsym(image->handle, name) : nullptr;
    if (!address) return 500;
    Dl_info info;
    const ElfW(Sym)* symbol = nullptr;
    dladdr1(address, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&symbol)), RTLD_DL_SYMENT);
    if (pointer) *pointer = reinterpret_cast<uintptr_t>(address);
    if (bytes) *bytes = symbol ? symbol->st_size : 0;
    return 0;
}

CUDASIM_API CUresult cuFuncGetName(const char** name, void* function) {
    if (!name || !function) return 1;
    *name = static_cast<Function*>(function)->name.c_str();
    return 0;
}

CUDASIM_API CUresult cuFuncGetAttribute(int* value, int attribute, void* function) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!value) return 1;
    if (!function) return 400;
    const auto& f = *static_cast<Function*>(function);
    const auto& s = settings();
    switch (attribute) {
        case 0: *value = static_cast<int>(f.max_threads); return 0;
        case 1: *value = f.static_shared_seen; return 0;
        case 2:
        case 3: *value = 0; return 0;
        case 4: *value = 32; return 0;
        case 5:
        case 6: *value = s.compute_major * 10 + s.compute_minor; return 0;
        case 7: *value = 0; return 0;
        case 8: *value = f.dynamic_limit; return 0;
        case 9: *value = -1; return 0;
        case 10: *value = f.cluster[0] != 0; return 0;
        case 11:
        case 12:
        case 13: *value = static_cast<int>(f.cluster[attribute - 11]); return 0;
        case 14: *value = f.non_portable_cluster; return 0;
        case 15: *value = 0; return 0;
        default: return 1;
    }
}

CUDASIM_API CUresult cuFuncSetAttribute(void* function, int attribute, int value) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!function) return 400;
    auto& f = *static_cast<Function*>(function);
    switch (attribute) {
        case 8:
            if (value < 0 || value > settings().shared_per_block_optin) return 1;
            f.dynamic_limit = value;
            return 0;
        case 9: return value >= -1 && value <= 100 ? 0 : 1;
        case 11:
        case 12:
        case 13: f.cluster[attribute - 11] = static_cast<unsigned>(value); return 0;
        case 14: f.non_portable_cluster = value != 0; return 0;
        case 15: return 0;
        default: return 1;
    }
}

CUDASIM_API CUresult cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                    unsigned bz, unsigned shared, void* stream, void** parameters, void** extra) {
    return launch(static_cast<Function*>(f), {gx, gy, gz}, {bx, by, bz}, {}, shared, false, stream, parameters, extra);
}

CUDASIM_API CUresult cuLaunchCooperativeKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                               unsigned bz, unsigned shared, void* stream, void** parameters) {
    return launch(static_cast<Function*>(f), {gx, gy, gz}, {bx, by, bz}, {}, shared, true, stream, parameters, nullptr);
}

CUDASIM_API CUresult cuLaunchKernelEx(const LaunchConfig* config, void* f, void** parameters, void** extra) {
    if (!config || (config->attribute_count && !config->attributes)) return 1;
    Dim3 cluster;
    bool cooperative = false;
    for (unsigned i = 0; i < config->attribute_count; ++i) {
        const auto& a = config->attributes[i];
        if (a.id == 2) cooperative = a.value.cooperative != 0;
        if (a.id == 4) cluster = {a.value.cluster.x, a.value.cluster.y, a.value.cluster.z};
    }
    return launch(static_cast<Function*>(f), {config->grid_x, config->grid_y, config->grid_z},
                  {config->block_x, config->block_y, config->block_z}, cluster, config->shared_bytes, cooperative,
                  config->stream, parameters, extra);
}

CUDASIM_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, void* f, int block_size,
                                                                          size_t dynamic, unsigned) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!blocks || block_size <= 0) return 1;
    if (!f) return 400;
    *blocks = blocks_per_multiprocessor(*static_cast<Function*>(f), static_cast<uint64_t>(block_size), dynamic);
    return 0;
}

CUDASIM_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* f, int block_size, size_t dynamic) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, block_size, dynamic, 0);
}

CUDASIM_API CUresult cuOccupancyMaxActiveClusters(int* clusters, void* f, const LaunchConfig* config) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!clusters || !f || !config) return 1;
    uint64_t size = 1;
    for (unsigned i = 0; i < config->attribute_count; ++i)
        if (config->attributes[i].id == 4)
            size = uint64_t{config->attributes[i].value.cluster.x} * config->attributes[i].value.cluster.y *
                   config->attributes[i].value.cluster.z;
    const auto blocks = static_cast<uint64_t>(
        blocks_per_multiprocessor(*static_cast<Function*>(f),
                                  uint64_t{config->block_x} * config->block_y * config->block_z, config->shared_bytes));
    *clusters = size ? static_cast<int>(blocks * static_cast<uint64_t>(settings().multiprocessors) / size) : 0;
    return 0;
}

CUDASIM_API CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, uint64_t, int* status) {
    if (!symbol || !function) return 1;
    void* self = dlopen(nullptr, RTLD_NOW);
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&cuGetProcAddress_v2), &info))
        self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    *function = nullptr;
    for (const char* suffix : {"", "_v2", "_v3"})
        if (void* found = dlsym(self, (std::string(symbol) + suffix).c_str()))
            *function = found;  // the newest version wins
    if (status) *status = *function ? 0 : 1;
    return *function ? 0 : 500;
}
