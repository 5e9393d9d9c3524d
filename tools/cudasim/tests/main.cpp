// Runs every test, or those whose name contains the first argument.
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "harness.h"

void measure_cost();

int failures = 0;

std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

void option(const char* name, const char* value) {
    if (cudasim_set_option(name, value)) {
        failures++;
        std::printf("  option %s=%s was refused\n", name, value);
    }
}

std::string read_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string kernel_text(const char* file) { return read_text(std::string(TESTS_DIR) + "/kernels/" + file); }

namespace {
struct Compiled {
    int status;
    std::string log, cubin;
    std::vector<std::string> lowered;
};
std::map<std::string, Compiled> compiled;
}  // namespace

Kernels::Kernels(const std::string& source, std::vector<std::string> options, std::vector<std::string> expressions) {
    std::string key = source;
    for (const auto& o : options) key += "\n" + o;
    for (const auto& e : expressions) key += "\n" + e;
    if (!compiled.count(key)) {
        void* program = nullptr;
        CHECK(nvrtcCreateProgram(&program, source.c_str(), "test.cu", 0, nullptr, nullptr));
        std::vector<const char*> words = {"--gpu-architecture=sm_90", "-I" KERNELS_DIR};
        for (const auto& o : options) words.push_back(o.c_str());
        for (const auto& e : expressions) CHECK(nvrtcAddNameExpression(program, e.c_str()));
        Compiled c;
        c.status = nvrtcCompileProgram(program, static_cast<int>(words.size()), words.data());
        size_t size = 0;
        CHECK(nvrtcGetProgramLogSize(program, &size));
        c.log.resize(size);
        CHECK(nvrtcGetProgramLog(program, c.log.data()));
        if (c.status == 0) {
            CHECK(nvrtcGetCUBINSize(program, &size));
            c.cubin.resize(size);
            CHECK(nvrtcGetCUBIN(program, c.cubin.data()));
            for (const auto& e : expressions) {
                const char* name = nullptr;
                CHECK(nvrtcGetLoweredName(program, e.c_str(), &name));
                c.lowered.push_back(name ? name : "");
            }
        }
        nvrtcDestroyProgram(&program);
        compiled[key] = c;
    }
    const auto& c = compiled[key];
    status = c.status;
    log = c.log;
    cubin = c.cubin;
    lowered = c.lowered;
    if (status == 0) CHECK(cuModuleLoadData(&module_, cubin.data()));
}

Kernels::~Kernels() {
    if (module_) cuModuleUnload(module_);
}

void* Kernels::function(const char* name) {
    void* f = nullptr;
    if (status != 0) {
        failures++;
        std::printf("  does not compile:\n%s\n", log.c_str());
        return nullptr;
    }
    CHECK(cuModuleGetFunction(&f, module_, name));
    return f;
}

uint64_t found(const char* kind) { return cudasim_finding_count(kind); }

uint64_t counter(const char* name) {
    const std::string text = cudasim_counters_json();
    const auto at = text.rfind("\"" + std::string(name) + "\":");
    if (at == std::string::npos) return ~uint64_t{0};
    return std::strtoull(text.c_str() + at + std::strlen(name) + 3, nullptr, 10);
}

void fresh(const char* checks, const char* seed) {
    option("check", checks);
    option("seed", seed);
    cudasim_findings_clear();
    cudasim_counters_clear();
}

void under_all_schedules(const std::function<void()>& body) {
    for (int seed = 0; seed <= 10; ++seed) {
        fresh("all", std::to_string(seed).c_str());
        body();
        if (found("") != 0) {
            failures++;
            std::printf("  seed %d: %s\n", seed, cudasim_findings_json());
            break;
        }
    }
    fresh("none");
}

int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    CHECK(cuInit(0));
    void* context = nullptr;
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuCtxSetCurrent(context));
    if (argc > 1 && std::strcmp(argv[1], "--cost") == 0) {
        measure_cost();
        return 0;
    }
    int ran = 0, failed = 0;
    for (const auto& test : tests()) {
        if (argc > 1 && !std::strstr(test.name, argv[1])) continue;
        const int before = failures;
        fresh("none");
        const auto start = std::chrono::steady_clock::now();
        test.run();
        const auto ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
        ran++;
        if (failures != before) failed++;
        std::printf("%s %s (%d ms)\n", failures == before ? "ok    " : "FAILED", test.name, static_cast<int>(ms));
    }
    std::printf("%d tests passed, %d failed\n", ran - failed, failed);
    return failed != 0;
}
