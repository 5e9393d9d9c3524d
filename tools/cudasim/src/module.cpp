#include "module.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "settings.h"

namespace cudasim {
namespace {

// The layout of a cubin: this header, the object, the options, the source. Real cubins are ELF and start otherwise.
struct CubinHeader {
    char magic[8];
    uint32_t version;
    uint32_t instrumented;
    uint64_t object_bytes, options_bytes, source_bytes, checksum;
    char compiler[224];
};
constexpr char magic[8] = {'C', 'U', 'D', 'A', 'S', 'I', 'M', '\n'};
constexpr uint32_t layout_version = 1;

uint64_t checksum(const char* data, size_t size) {
    uint64_t hash = 1469598103934665603ull;
    for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<unsigned char>(data[i])) * 1099511628211ull;
    return hash;
}

// dlopen wants a file; a memory file leaves nothing behind.
std::shared_ptr<KernelImage> open_object(const char* data, size_t size) {
    static std::atomic<uint64_t> serials{0};
    auto image = std::make_shared<KernelImage>();
    image->serial = ++serials;
    image->descriptor = memfd_create("cudasim_kernels", MFD_CLOEXEC);
    if (image->descriptor < 0) return nullptr;
    for (size_t done = 0; done < size;) {
        const auto n = write(image->descriptor, data + done, size - done);
        if (n <= 0) return nullptr;
        done += static_cast<size_t>(n);
    }
    image->path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(image->descriptor);
    image->handle = dlopen(image->path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!image->handle) {
        std::fprintf(stderr, "cudasim: %s\n", dlerror());
        return nullptr;
    }
    struct Search {
        uintptr_t base;
        KernelImage* image;
    } search{reinterpret_cast<struct link_map*>(image->handle)->l_addr, image.get()};
    dl_iterate_phdr(
        [](struct dl_phdr_info* info, size_t, void* data) {
            auto& s = *static_cast<Search*>(data);
            if (info->dlpi_addr != s.base) return 0;
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
                s.image->end =
                    std::max<uintptr_t>(s.image->end, s.base + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz);
            }
            s.image->begin = s.base;
            return 1;
        },
        &search);
    return image;
}

// Kernels call functions of this library; whoever loaded it may have kept its names to himself.
void make_names_global() {
    static std::once_flag once;
    std::call_once(once, [] {
        Dl_info info;
        if (dladdr(reinterpret_cast<void*>(&make_names_global), &info) && info.dli_fname)
            dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    });
}

}  // namespace

KernelImage::~KernelImage() {
    if (handle) dlclose(handle);
    if (descriptor >= 0) close(descriptor);
}

std::string make_cubin(bool instrumented, const std::string& object, const std::string& source,
                       const std::string& options) {
    CubinHeader header{};
    std::memcpy(header.magic, magic, sizeof magic);
    header.version = layout_version;
    header.instrumented = instrumented;
    header.object_bytes = object.size();
    header.options_bytes = options.size();
    header.source_bytes = source.size();
    std::strncpy(header.compiler, host_compiler_version().c_str(), sizeof header.compiler - 1);
    const auto body = object + options + source;
    header.checksum = checksum(body.data(), body.size());
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body;
}

KernelImage* Module::image(bool checked, std::string& log) {
    auto& wanted = checked ? instrumented : plain;
    if (!wanted) {
        const auto compiled = compile_object(cubin_source, cubin_options, checked);
        log = compiled.log;
        if (compiled.ok) wanted = open_object(compiled.object.data(), compiled.object.size());
    }
    return wanted.get();
}

int load_module(const void* data, int device, Module& module) {
    make_names_global();
    const auto* bytes = static_cast<const char*>(data);
    CubinHeader header;
    if (std::memcmp(bytes, magic, sizeof magic) != 0)
        return std::strncmp(bytes, "//", 2) == 0 || std::strncmp(bytes, ".version", 8) == 0 ? 218 : 200;
    std::memcpy(&header, bytes, sizeof header);
    const auto body = header.object_bytes + header.options_bytes + header.source_bytes;
    if (header.version != layout_version || body > (uint64_t{1} << 30)) return 200;
    if (checksum(bytes + sizeof header, body) != header.checksum) return 200;
    const auto* object = bytes + sizeof header;
    module.device = device;
    module.cubin_options.assign(object + header.object_bytes, header.options_bytes);
    module.cubin_source.assign(object + header.object_bytes + header.options_bytes, header.source_bytes);
    header.compiler[sizeof header.compiler - 1] = '\0';
    if (host_compiler_version().substr(0, sizeof header.compiler - 1) == header.compiler)
        (header.instrumented ? module.instrumented : module.plain) = open_object(object, header.object_bytes);
    std::string log;
    const auto* image = module.image(settings().checked(), log);
    if (!image) {
        std::fprintf(stderr, "cudasim: a module could not be built for the checks now switched on:\n%s", log.c_str());
        return 200;
    }
    const auto* entries = static_cast<const KernelEntry*>(dlsym(image->handle, "cudasim_kernels"));
    if (!entries) return 200;
    for (; entries->name; ++entries) {
        auto function = std::make_unique<Function>();
        function->module = &module;
        function->name = entries->name;
        function->sizes.assign(entries->sizes, entries->sizes + entries->count);
        function->max_threads = entries->max_threads;
        std::copy(entries->cluster, entries->cluster + 3, function->cluster);
        function->dynamic_limit = settings().shared_per_block;
        module.functions[function->name] = std::move(function);
    }
    return 0;
}

Function* find_function(Module& module, const std::string& name) {
    const auto found = module.functions.find(name);
    return found == module.functions.end() ? nullptr : found->second.get();
}

const KernelEntry* find_entry(const KernelImage& image, const std::string& name) {
    const auto* entries = static_cast<const KernelEntry*>(dlsym(image.handle, "cudasim_kernels"));
    for (; entries && entries->name; ++entries)
        if (name == entries->name) return entries;
    return nullptr;
}

}  // namespace cudasim
