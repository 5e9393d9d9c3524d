// Compiled kernels. A "cubin" of the simulator is a header, a shared object and the source it was made from; the source
// lets the same bytes serve checked and unchecked runs, whichever was asked for when they were compiled.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace cudasim {

struct KernelImage {
    void* handle = nullptr;
    int descriptor = -1;
    uint64_t serial = 0;  // never given twice, unlike an address or a path
    uintptr_t begin = 0, end = 0;
    std::string path;
    bool contains(uintptr_t address) const { return address >= begin && address < end; }
    ~KernelImage();
};

// What the compiled object says of one kernel; device/prelude.h writes these.
struct KernelEntry {
    const char* name;
    void (*thunk)(void**);
    unsigned count;
    const unsigned* sizes;
    unsigned max_threads;
    unsigned cluster[3];
};

std::string make_cubin(bool instrumented, const std::string& object, const std::string& source,
                       const std::string& options);

struct Module {
    int device = 0;
    std::string cubin_source, cubin_options;
    std::shared_ptr<KernelImage> plain, instrumented;
    std::map<std::string, std::unique_ptr<struct Function>> functions;
    // The image for the checks now switched on, built when it does not exist yet; null with a log when that fails.
    KernelImage* image(bool checked, std::string& log);
};

struct Function {
    Module* module = nullptr;
    std::string name;
    std::vector<unsigned> sizes;
    unsigned max_threads = 1024;
    unsigned cluster[3] = {0, 0, 0};
    int dynamic_limit = 48 * 1024;
    int static_shared_seen = 0;
    bool non_portable_cluster = false;
};

// Loads an image; a CUresult.
int load_module(const void* image, int device, Module& module);
Function* find_function(Module& module, const std::string& name);
const KernelEntry* find_entry(const KernelImage& image, const std::string& name);

// The host compiler (host_compiler.cpp).
struct CompileResult {
    bool ok = false;
    std::string object, log;
};
CompileResult compile_object(const std::string& source, const std::string& options, bool instrumented);
struct PreprocessInput {
    std::string name, source;
    std::vector<std::pair<std::string, std::string>> headers;  // include name, text
    std::vector<std::string> options;
};
CompileResult preprocess(const PreprocessInput& input);
const char* host_compiler();
std::string host_compiler_version();

// Rewrites preprocessed CUDA to C++ (kernel_source.cpp).
struct KernelSource {
    std::string text;
    std::vector<std::string> kernels;
};
KernelSource rewrite_kernels(const std::string& preprocessed, const std::vector<std::string>& name_expressions);
std::string lowered_name(const std::string& expression);

}  // namespace cudasim
