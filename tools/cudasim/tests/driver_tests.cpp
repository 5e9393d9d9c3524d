// Streams, events, capture and replay, faults, several devices.
#include <algorithm>

#include "harness.h"

namespace {

const char* const source = R"(
extern "C" __global__ void add(float* x, float value) { x[threadIdx.x] += value; }
extern "C" __global__ void scale(float* x, const float* factor) { x[threadIdx.x] *= factor[0]; }
extern "C" __global__ void __launch_bounds__(64, 2) bounded(float* x) { x[threadIdx.x] = 1; }
extern "C" __global__ void __cluster_dims__(2, 1, 1) paired(float* x) { x[blockIdx.x] = blockIdx.x; }
__device__ float table[4] = {1, 2, 3, 4};
extern "C" __global__ void look_up(float* x) { x[threadIdx.x] = table[threadIdx.x]; }
extern "C" __global__ void fail(float* x) { assert(x == nullptr); }
namespace inner { __global__ void named(float* x) { x[0] = 5; } }
struct Pair { float a; double b; char c; };
extern "C" __global__ void by_value(double* x, Pair p, short s, bool flag, double d) {
    x[0] = p.a + p.b + p.c + s + (flag ? 1 : 0) + d;
}
)";

Kernels& kernels() {
    static Kernels* k = nullptr;
    if (!k) k = new Kernels(source);
    return *k;
}

int add(CUdeviceptr x, float value, void* stream) {
    void* arguments[] = {&x, &value};
    static void* const function = kernels().function("add");
    return cuLaunchKernel(function, 1, 1, 1, 4, 1, 1, 0, stream, arguments, nullptr);
}

float first(const Buffer& b) { return b.read<float>()[0]; }

void recover() { CHECK(cuDevicePrimaryCtxReset_v2(0)); }

}  // namespace

TEST(driver_arguments_of_every_kind) {
    struct Pair {
        float a;
        double b;
        char c;
    };
    Buffer x(8);
    CHECK(launch(kernels().function("by_value"), {1, 1}, x.pointer, Pair{1, 2, 3}, short{4}, true, 0.5));
    EXPECT(x.read<double>()[0] == 11.5);
    Buffer y(4);
    CHECK(launch(kernels().function("inner::named"), {1, 1}, y.pointer));
    EXPECT(first(y) == 5);
}

TEST(driver_module_globals) {
    Buffer x(16);
    CHECK(launch(kernels().function("look_up"), {1, 4}, x.pointer));
    EXPECT(x.read<float>()[3] == 4);
}

TEST(driver_limits_are_refused) {
    Buffer x(4096);
    float* none = nullptr;
    CUdeviceptr p = x.pointer;
    void* arguments[] = {&p};
    (void)none;
    const auto run = [&](const char* name, unsigned grid, unsigned block, unsigned shared) {
        return cuLaunchKernel(kernels().function(name), grid, 1, 1, block, 1, 1, shared, nullptr, arguments, nullptr);
    };
    EXPECT_EQ(1, run("bounded", 0, 32, 0));
    EXPECT_EQ(1, run("bounded", 1, 2048, 0));
    EXPECT_EQ(701, run("bounded", 1, 96, 0));
    EXPECT_EQ(1, run("bounded", 1, 64, 50000));
    CHECK(cuFuncSetAttribute(kernels().function("bounded"), 8, 60000));
    EXPECT_EQ(0, run("bounded", 1, 64, 50000));
    EXPECT_EQ(1, cuFuncSetAttribute(kernels().function("bounded"), 8, 1 << 20));
    EXPECT_EQ(912, run("paired", 3, 1, 0));
    EXPECT_EQ(0, run("paired", 4, 1, 0));
    int value = 0;
    CHECK(cuFuncGetAttribute(&value, 0, kernels().function("bounded")));
    EXPECT_EQ(64, value);
    CHECK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, kernels().function("add"), 256, 0));
    EXPECT_EQ(8, value);
    void* f = nullptr;
    void* module = nullptr;
    const auto cubin = kernels().cubin;
    CHECK(cuModuleLoadData(&module, cubin.data()));
    EXPECT_EQ(500, cuModuleGetFunction(&f, module, "no_such_kernel"));
    CHECK(cuModuleUnload(module));
    auto bad = cubin;
    bad[bad.size() / 2] ^= 1;
    EXPECT_EQ(200, cuModuleLoadData(&module, bad.data()));
    EXPECT_EQ(200, cuModuleLoadData(&module, "garbage that is no module"));
}

TEST(driver_streams_keep_their_order) {
    for (const char* deferred : {"0", "1"}) {
        for (const char* seed : {"0", "3", "4"}) {
            fresh("none", seed);
            option("deferred", deferred);
            void *a = nullptr, *b = nullptr, *event = nullptr;
            CHECK(cuStreamCreate(&a, 1));
            CHECK(cuStreamCreate(&b, 1));
            CHECK(cuEventCreate(&event, 2));
            Buffer x(std::vector<float>(4, 0.0f));
            void* pinned = nullptr;
            CHECK(cuMemAllocHost_v2(&pinned, 16));
            CHECK(add(x.pointer, 1, a));
            CHECK(cuEventRecord(event, a));
            CHECK(cuStreamWaitEvent(b, event, 0));
            CHECK(cuMemsetD32Async(x.pointer, 0, 4, b));  // must come after the first add
            CHECK(add(x.pointer, 5, b));
            CHECK(cuMemcpyDtoHAsync_v2(pinned, x.pointer, 16, b));
            CHECK(cuStreamSynchronize(b));
            EXPECT(static_cast<float*>(pinned)[0] == 5);
            EXPECT_EQ(0, cuEventQuery(event));
            CHECK(cuMemFreeHost(pinned));
            CHECK(cuEventDestroy_v2(event));
            CHECK(cuStreamDestroy_v2(a));
            CHECK(cuStreamDestroy_v2(b));
            option("deferred", "0");
        }
    }
}

TEST(driver_deferred_streams_show_a_missing_wait) {
    fresh("none");
    option("deferred", "1");
    void* stream = nullptr;
    void* pinned = nullptr;
    CHECK(cuStreamCreate(&stream, 1));
    CHECK(cuMemAllocHost_v2(&pinned, 16));
    std::memset(pinned, 0, 16);
    Buffer x(std::vector<float>(4, 7.0f));
    CHECK(cuMemcpyDtoHAsync_v2(pinned, x.pointer, 16, stream));
    EXPECT(static_cast<float*>(pinned)[0] == 0);  // not there yet: nobody waited
    EXPECT_EQ(600, cuStreamQuery(stream));
    EXPECT_EQ(0, cuStreamQuery(stream));
    EXPECT(static_cast<float*>(pinned)[0] == 7);
    CHECK(cuMemFreeHost(pinned));
    CHECK(cuStreamDestroy_v2(stream));
    option("deferred", "0");
}

TEST(driver_graph_capture_and_replay) {
    for (const char* seed : {"0", "5"}) {
        fresh("none", seed);
        void *a = nullptr, *b = nullptr, *fork = nullptr, *join = nullptr, *graph = nullptr, *exec = nullptr;
        CHECK(cuStreamCreate(&a, 1));
        CHECK(cuStreamCreate(&b, 1));
        CHECK(cuEventCreate(&fork, 2));
        CHECK(cuEventCreate(&join, 2));
        Buffer x(std::vector<float>(4, 0.0f)), y(std::vector<float>(4, 0.0f)), factor(std::vector<float>(1, 2.0f));
        CHECK(cuStreamBeginCapture_v2(a, 1));
        CHECK(cuMemsetD32Async(y.pointer, 0, 4, a));
        CHECK(add(x.pointer, 1, a));
        CHECK(cuEventRecord(fork, a));
        CHECK(cuStreamWaitEvent(b, fork, 0));
        CHECK(add(y.pointer, 3, b));
        CHECK(cuEventRecord(join, b));
        CUdeviceptr px = x.pointer, pf = factor.pointer;
        void* arguments[] = {&px, &pf};
        CHECK(cuLaunchKernel(kernels().function("scale"), 1, 1, 1, 4, 1, 1, 0, a, arguments, nullptr));
        CHECK(cuStreamWaitEvent(a, join, 0));
        int status = 0;
        CHECK(cuStreamIsCapturing(b, &status));
        EXPECT_EQ(1, status);
        CHECK(cuStreamEndCapture(a, &graph));
        EXPECT(first(x) == 0);  // recorded, not run
        size_t nodes = 0;
        CHECK(cuGraphGetNodes(graph, nullptr, &nodes));
        EXPECT_EQ(4u, nodes);
        CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0));
        px = 0;  // arguments were copied
        CHECK(cuGraphLaunch(exec, a));
        CHECK(cuStreamSynchronize(a));
        EXPECT(first(x) == 2 && first(y) == 3);
        const float three = 3;
        CHECK(cuMemcpyHtoD_v2(factor.pointer, &three, 4));  // read from memory, so the replay sees it
        CHECK(cuGraphLaunch(exec, a));
        CHECK(cuStreamSynchronize(a));
        EXPECT(first(x) == 9 && first(y) == 3);

        // The same shape again with another argument can replace the first; another shape cannot.
        void *again = nullptr, *other = nullptr;
        CUgraphExecUpdateResultInfo info{};
        CHECK(cuStreamBeginCapture_v2(a, 2));
        CHECK(cuMemsetD32Async(y.pointer, 0, 4, a));
        CHECK(cuStreamEndCapture(a, &other));
        EXPECT_EQ(910, cuGraphExecUpdate_v2(exec, other, &info));
        EXPECT_EQ(2, info.result);
        CHECK(cuStreamBeginCapture_v2(a, 2));
        CHECK(add(y.pointer, 10, a));
        CHECK(cuStreamEndCapture(a, &again));
        void* single = nullptr;
        CHECK(cuGraphInstantiateWithFlags(&single, again, 0));
        EXPECT_EQ(910, cuGraphExecUpdate_v2(single, other, &info));
        EXPECT_EQ(3, info.result);
        CHECK(cuGraphExecUpdate_v2(single, again, &info));
        CHECK(cuGraphLaunch(single, nullptr));
        EXPECT(first(y) == 13);
        for (void* e : {exec, single}) CHECK(cuGraphExecDestroy(e));
        for (void* g : {graph, again, other}) CHECK(cuGraphDestroy(g));
        for (void* s : {a, b}) CHECK(cuStreamDestroy_v2(s));
        for (void* e : {fork, join}) CHECK(cuEventDestroy_v2(e));
    }
}

TEST(driver_what_capture_forbids) {
    void *a = nullptr, *b = nullptr, *event = nullptr, *graph = nullptr;
    CHECK(cuStreamCreate(&a, 1));
    CHECK(cuStreamCreate(&b, 1));
    CHECK(cuEventCreate(&event, 2));
    Buffer x(std::vector<float>(4, 0.0f));
    CUdeviceptr p = 0;
    float host[4];
    const auto forbidden = [&](int mode, int expected, const std::function<int()>& call) {
        CHECK(cuStreamBeginCapture_v2(a, mode));
        EXPECT_EQ(expected, call());
        int status = 0;
        CHECK(cuStreamIsCapturing(a, &status));
        EXPECT_EQ(2, status);
        EXPECT_EQ(901, add(x.pointer, 1, a));
        EXPECT_EQ(901, cuStreamEndCapture(a, &graph));
        EXPECT(graph == nullptr);
        CHECK(add(x.pointer, 1, a));  // the stream is usable again
    };
    forbidden(0, 900, [&] { return cuMemAlloc_v2(&p, 4); });
    forbidden(1, 900, [&] { return cuMemcpyDtoH_v2(host, x.pointer, 16); });
    forbidden(1, 900, [&] { return cuModuleLoadData(&event, kernels().cubin.data()); });
    forbidden(2, 900, [&] { return cuStreamSynchronize(a); });
    forbidden(2, 900, [&] { return cuStreamQuery(a); });
    forbidden(0, 900, [&] { return cuCtxSynchronize(); });
    forbidden(2, 905, [&] {
        CHECK(cuEventRecord(event, b));
        return cuStreamWaitEvent(a, event, 0);
    });
    forbidden(2, 907, [&] {
        CHECK(cuEventRecord(event, a));
        return cuEventSynchronize(event);
    });
    // Relaxed mode lets an allocation through.
    CHECK(cuStreamBeginCapture_v2(a, 2));
    CHECK(cuMemAlloc_v2(&p, 4));
    CHECK(cuStreamEndCapture(a, &graph));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuMemFree_v2(p));
    // Forked work that never comes back; ending in the wrong stream; the default stream.
    CHECK(cuStreamBeginCapture_v2(a, 2));
    CHECK(add(x.pointer, 1, a));
    CHECK(cuEventRecord(event, a));
    CHECK(cuStreamWaitEvent(b, event, 0));
    CHECK(add(x.pointer, 1, b));
    EXPECT_EQ(903, cuStreamEndCapture(b, &graph));
    EXPECT_EQ(901, cuStreamEndCapture(a, &graph));
    CHECK(cuStreamBeginCapture_v2(a, 2));
    CHECK(add(x.pointer, 1, a));
    CHECK(cuEventRecord(event, a));
    CHECK(cuStreamWaitEvent(b, event, 0));
    CHECK(add(x.pointer, 1, b));
    EXPECT_EQ(904, cuStreamEndCapture(a, &graph));
    EXPECT_EQ(900, cuStreamBeginCapture_v2(nullptr, 0));
    // A blocking stream in capture and the legacy stream exclude each other.
    void* blocking = nullptr;
    CHECK(cuStreamCreate(&blocking, 0));
    CHECK(cuStreamBeginCapture_v2(blocking, 2));
    EXPECT_EQ(906, add(x.pointer, 1, nullptr));
    EXPECT_EQ(901, cuStreamEndCapture(blocking, &graph));
    for (void* s : {a, b, blocking}) CHECK(cuStreamDestroy_v2(s));
    CHECK(cuEventDestroy_v2(event));
}

TEST(driver_faults) {
    Buffer x(std::vector<float>(4, 0.0f));
    CUdeviceptr p = 0;
    option("fail_alloc_at", "2");
    CHECK(cuMemAlloc_v2(&p, 16));
    CHECK(cuMemFree_v2(p));
    EXPECT_EQ(2, cuMemAlloc_v2(&p, 16));
    CHECK(cuMemAlloc_v2(&p, 16));
    CHECK(cuMemFree_v2(p));
    option("fail_alloc_at", "0");
    option("fail_alloc_above", "1000000");
    EXPECT_EQ(2, cuMemAlloc_v2(&p, 2000000));
    size_t free = 0, total = 0;
    CHECK(cuMemGetInfo_v2(&free, &total));
    EXPECT(free < 1000000 && total > free);
    option("fail_alloc_above", "-1");

    const struct {
        const char* name;
        int code;
    } faults[] = {{"fail_launch_at", 719}, {"illegal_address_at", 700}, {"ecc_at", 214}};
    for (const auto& fault : faults) {
        option(fault.name, "2");
        CHECK(add(x.pointer, 1, nullptr));
        CHECK(cuCtxSynchronize());
        CHECK(add(x.pointer, 1, nullptr));  // fails on the device, later
        EXPECT_EQ(fault.code, cuCtxSynchronize());
        EXPECT_EQ(fault.code, add(x.pointer, 1, nullptr));
        EXPECT_EQ(fault.code, cuMemAlloc_v2(&p, 4));
        option(fault.name, "0");
        recover();
        CHECK(add(x.pointer, 1, nullptr));
    }

    EXPECT_EQ(710, launch(kernels().function("fail"), {1, 1}, x.pointer));
    EXPECT(found("assert") == 1);
    recover();

    option("nvrtc_internal_error", "1");
    Kernels broken("extern \"C\" __global__ void never() {}\n");
    EXPECT_EQ(11, broken.status);
    option("nvrtc_internal_error", "0");

    option("driver_version", "11080");
    void* module = nullptr;
    EXPECT_EQ(35, cuModuleLoadData(&module, kernels().cubin.data()));
    option("driver_version", "12080");

    option("no_driver", "1");
    EXPECT_EQ(100, cuInit(0));
    option("no_driver", "0");
    option("devices", "0");
    EXPECT_EQ(100, cuInit(0));
    option("devices", "1");
    CHECK(cuInit(0));
    const char* text = nullptr;
    CHECK(cuGetErrorName(700, &text));
    EXPECT(std::string(text) == "CUDA_ERROR_ILLEGAL_ADDRESS");
    CHECK(cuGetErrorString(2, &text));
    EXPECT(std::string(text) == "out of memory");
    EXPECT_EQ(1, cuGetErrorName(12345, &text));
}

TEST(driver_several_devices) {
    option("devices", "2");
    void *c0 = nullptr, *c1 = nullptr;
    CHECK(cuDevicePrimaryCtxRetain(&c0, 0));
    CHECK(cuDevicePrimaryCtxRetain(&c1, 1));
    CHECK(cuCtxSetCurrent(c1));
    CUdeviceptr remote = 0;
    CHECK(cuMemAlloc_v2(&remote, 16));
    CHECK(cuMemsetD32_v2(remote, 0x3f800000, 4));
    CHECK(cuCtxSetCurrent(c0));
    Buffer x(std::vector<float>(4, 1.0f));
    fresh("all");
    Kernels k(source);
    // Without peer access a kernel of device 0 may not touch device 1's memory.
    EXPECT_EQ(700, launch(k.function("scale"), {1, 4}, x.pointer, remote));
    EXPECT_EQ(1u, found("illegal_address"));
    recover();
    int can = 0;
    CHECK(cuDeviceCanAccessPeer(&can, 0, 1));
    EXPECT_EQ(1, can);
    CHECK(cuCtxEnablePeerAccess(c1, 0));
    EXPECT_EQ(704, cuCtxEnablePeerAccess(c1, 0));
    CHECK(launch(k.function("scale"), {1, 4}, x.pointer, remote));
    CHECK(cuMemcpyPeer(x.pointer, c0, remote, c1, 16));
    EXPECT(first(x) == 1);
    option("lost_peer", "1");
    EXPECT_EQ(220, cuMemcpyPeer(x.pointer, c0, remote, c1, 16));
    recover();
    EXPECT_EQ(217, cuCtxEnablePeerAccess(c1, 0));
    option("lost_peer", "0");
    CHECK(cuCtxSetCurrent(c1));
    CHECK(cuMemFree_v2(remote));
    CHECK(cuDevicePrimaryCtxRelease_v2(1));
    CHECK(cuDevicePrimaryCtxRelease_v2(0));
    CHECK(cuCtxSetCurrent(c0));
    option("devices", "1");
}

TEST(driver_compiled_kernels_serve_both_builds) {
    fresh("none");
    Kernels k("extern \"C\" __global__ void past(float* out, const float* in) { out[0] = in[4]; }\n");
    Buffer x(std::vector<float>(4, 1.0f)), out(4);
    CHECK(launch(k.function("past"), {1, 1}, out.pointer, x.pointer));
    EXPECT_EQ(0u, found(""));
    fresh("memory");  // the module was loaded unchecked; the launch builds what it needs
    CHECK(launch(k.function("past"), {1, 1}, out.pointer, x.pointer));
    EXPECT_EQ(1u, found("out_of_bounds"));
}

TEST(driver_kernels_reach_pinned_host_memory) {
    fresh("all");
    void* pinned = nullptr;
    CUdeviceptr device = 0;
    CHECK(cuMemAllocHost_v2(&pinned, 16));
    std::fill_n(static_cast<float*>(pinned), 4, 1.0f);
    CHECK(cuMemHostGetDevicePointer_v2(&device, pinned, 0));
    CHECK(launch(kernels().function("add"), {1, 4}, device, 2.0f));
    EXPECT(static_cast<float*>(pinned)[3] == 3.0f);
    EXPECT_EQ(0u, found(""));
    CHECK(cuMemFreeHost(pinned));
}

TEST(driver_arenas_can_close_and_name_parts) {
    fresh("memory");
    Buffer arena(std::vector<float>(64, 1.0f));
    cudasim_memory_name(arena.pointer, 64, "weights");
    cudasim_memory_name(arena.pointer + 128, 64, "activations");
    cudasim_memory_poison(arena.pointer + 64, 64);
    CHECK(launch(kernels().function("add"), {1, 16}, arena.pointer, 1.0f));
    EXPECT_EQ(0u, found(""));
    CHECK(launch(kernels().function("add"), {1, 17}, arena.pointer, 1.0f));
    EXPECT_EQ(2u, found("out_of_bounds"));
    EXPECT(std::string(cudasim_findings_json()).find("'weights' of 64 bytes, offset 64") != std::string::npos);
    cudasim_memory_unpoison(arena.pointer + 64, 64);
    fresh("memory");
    CHECK(launch(kernels().function("add"), {1, 17}, arena.pointer, 1.0f));
    EXPECT_EQ(1u, found("uninitialised_read"));
}

TEST(driver_procedures_by_name) {
    void* f = nullptr;
    int status = -1;
    CHECK(cuGetProcAddress_v2("cuMemAlloc", &f, 12080, 0, &status));
    EXPECT(f == reinterpret_cast<void*>(&cuMemAlloc_v2));
    EXPECT_EQ(0, status);
    EXPECT_EQ(500, cuGetProcAddress_v2("cuNoSuchThing", &f, 12080, 0, &status));
    EXPECT_EQ(1, status);
}
