// A small test runner, and the few lines every test needs to compile and launch a kernel.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "../include/cudasim.h"
#include "cuda_names.h"

struct Test {
    const char* name;
    std::function<void()> run;
};
std::vector<Test>& tests();
extern int failures;

struct Register {
    Register(const char* name, std::function<void()> run) { tests().push_back({name, std::move(run)}); }
};
#define TEST(name)                                             \
    static void test_##name();                                 \
    static const Register register_##name(#name, test_##name); \
    static void test_##name()

template <class A, class B>
void expect_equal(const A& expected, const B& actual, const char* what, const char* file, int line) {
    if (expected == static_cast<A>(actual)) return;
    failures++;
    std::printf("  %s:%d: %s: expected %s, got %s\n", file, line, what, std::to_string(expected).c_str(),
                std::to_string(actual).c_str());
}
#define EXPECT_EQ(expected, actual) expect_equal(expected, actual, #actual, __FILE__, __LINE__)
#define EXPECT(condition)                                                           \
    do {                                                                            \
        if (!(condition)) {                                                         \
            failures++;                                                             \
            std::printf("  %s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                           \
    } while (0)
#define CHECK(call) EXPECT_EQ(0, call)

void option(const char* name, const char* value);

// A compiled source. Compilation happens once per source, option set and kind of build.
class Kernels {
public:
    explicit Kernels(const std::string& source, std::vector<std::string> options = {},
                     std::vector<std::string> expressions = {});
    ~Kernels();
    void* function(const char* name);
    std::string log, cubin;
    int status = 0;
    std::vector<std::string> lowered;

private:
    void* module_ = nullptr;
};

struct Buffer {
    explicit Buffer(size_t bytes) : bytes(bytes) { CHECK(cuMemAlloc_v2(&pointer, bytes)); }
    template <class T>
    explicit Buffer(const std::vector<T>& values) : Buffer(values.size() * sizeof(T)) {
        CHECK(cuMemcpyHtoD_v2(pointer, values.data(), bytes));
    }
    Buffer(const Buffer&) = delete;
    ~Buffer() {
        if (pointer) cuMemFree_v2(pointer);
    }
    template <class T>
    std::vector<T> read() const {
        std::vector<T> values(bytes / sizeof(T));
        CHECK(cuMemcpyDtoH_v2(values.data(), pointer, bytes));
        return values;
    }
    CUdeviceptr pointer = 0;
    size_t bytes;
};

struct Shape {
    unsigned grid = 1, block = 32, shared = 0;
    unsigned cluster = 1;
    bool cooperative = false;
    unsigned grid_y = 1, block_y = 1;
};

// Launches and waits; the result of the wait.
template <class... A>
int launch(void* function, Shape shape, A... arguments) {
    void* pointers[] = {static_cast<void*>(&arguments)..., nullptr};
    CUlaunchAttribute attributes[2] = {};
    CUlaunchConfig config{shape.grid, shape.grid_y, 1,       shape.block, shape.block_y,
                          1,          shape.shared, nullptr, attributes,  0};
    if (shape.cluster > 1) {
        auto& a = attributes[config.numAttrs++];
        a.id = 4;
        a.value.clusterDim = {shape.cluster, 1, 1};
    }
    if (shape.cooperative) {
        auto& a = attributes[config.numAttrs++];
        a.id = 2;
        a.value.cooperative = 1;
    }
    if (const int error = cuLaunchKernelEx(&config, function, pointers, nullptr)) return error;
    return cuCtxSynchronize();
}

// A number of the last counted launch.
uint64_t counter(const char* name);
uint64_t found(const char* kind);
void fresh(const char* checks, const char* seed = "0");
// Runs a body unfuzzed and under ten random orders with every check on; no finding may come up.
void under_all_schedules(const std::function<void()>& body);
std::string read_text(const std::string& path);
std::string kernel_text(const char* file);
