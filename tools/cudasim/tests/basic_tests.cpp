// Does a kernel compile, run and compute: the execution model, unchecked and checked.
#include <thread>

#include "harness.h"

static const char* const scale_source = R"(
extern "C" __global__ void scale(float* out, const float* in, float factor, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[i] * factor;
}
template <class T, int N>
__global__ void __launch_bounds__(N) add(T* out, T value) { out[threadIdx.x] += value; }
)";

TEST(a_kernel_runs) {
    for (const char* checks : {"none", "all"}) {
        fresh(checks);
        Kernels k(scale_source);
        std::vector<float> in(1000);
        for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
        Buffer x(in), y(in.size() * 4);
        CHECK(launch(k.function("scale"), {4, 256}, y.pointer, x.pointer, 3.0f, 1000));
        const auto out = y.read<float>();
        for (size_t i = 0; i < in.size(); ++i)
            if (out[i] != in[i] * 3) failures++;
        EXPECT_EQ(0u, found(""));
        if (std::string(checks) == "all") {
            EXPECT_EQ(4000u, counter("global_read_bytes"));
            EXPECT_EQ(4000u, counter("unique_read_bytes"));
            EXPECT_EQ(4000u, counter("global_write_bytes"));
            EXPECT_EQ(125u, counter("global_read_sectors"));
        }
    }
}

TEST(a_template_instance_runs_by_its_expression) {
    Kernels k(scale_source, {}, {"add<double, 64>", "&add<int, 32>"});
    Buffer x(std::vector<double>(64, 1.0));
    CHECK(launch(k.function(k.lowered[0].c_str()), {1, 64}, x.pointer, 2.5));
    EXPECT(x.read<double>()[63] == 3.5);
    Buffer y(std::vector<int>(32, 7));
    CHECK(launch(k.function(k.lowered[1].c_str()), {1, 32}, y.pointer, 2));
    EXPECT_EQ(9, y.read<int>()[5]);
}

static const char* const block_source = R"(
extern "C" __global__ void reverse(int* data) {
    __shared__ int buffer[256];
    extern __shared__ int dynamic[];
    buffer[threadIdx.x] = data[threadIdx.x];
    dynamic[threadIdx.x] = 1;
    __syncthreads();
    data[threadIdx.x] = buffer[blockDim.x - 1 - threadIdx.x] * dynamic[(threadIdx.x + 1) % blockDim.x];
}
extern "C" __global__ void votes(int* out) {
    const int t = threadIdx.x;
    out[t * 4 + 0] = __syncthreads_count(t % 3 == 0);
    out[t * 4 + 1] = __syncthreads_and(t < 64);
    out[t * 4 + 2] = __syncthreads_or(t == 5);
    out[t * 4 + 3] = __syncthreads_and(t < 63);
}
extern "C" __global__ void warp(int* out) {
    const int lane = threadIdx.x;
    int v = lane;
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
    out[lane] = v;
    out[32 + lane] = __shfl_up_sync(0xffffffffu, lane, 3);
    out[64 + lane] = __shfl_down_sync(0xffffffffu, lane, 1, 8);
    out[96 + lane] = (int)__ballot_sync(0xffffffffu, lane & 1);
    out[128 + lane] = (int)__match_any_sync(0xffffffffu, lane / 8);
    out[160 + lane] = __reduce_max_sync(0xffffffffu, -lane);
    out[192 + lane] = lane < 16 ? __shfl_sync(0x0000ffffu, lane, 3) : __shfl_sync(0xffff0000u, lane, 20);
    double w = __shfl_sync(0xffffffffu, lane * 0.5, 7);
    out[224 + lane] = (int)(w * 2);
}
extern "C" __global__ void atomics(int* i, float* f, unsigned* u, unsigned long long* l, double* d) {
    atomicAdd(i, 1);
    atomicAdd(f, 0.5f);
    atomicMax(u, threadIdx.x);
    atomicAdd(l, 1ull << 33);
    atomicAdd(d, 0.25);
    atomicCAS(i + 1, 0, (int)threadIdx.x + 1);
    atomicExch(u + 1, 42u);
    atomicOr(u + 2, 1u << (threadIdx.x & 31));
}
)";

TEST(shared_memory_and_barriers) {
    for (const char* checks : {"none", "all"}) {
        fresh(checks);
        Kernels k(block_source);
        std::vector<int> in(256);
        for (int i = 0; i < 256; ++i) in[i] = i;
        Buffer x(in);
        CHECK(launch(k.function("reverse"), {1, 256, 1024}, x.pointer));
        const auto out = x.read<int>();
        for (int i = 0; i < 256; ++i)
            if (out[i] != 255 - i) failures++;
        Buffer v(64 * 16);
        CHECK(launch(k.function("votes"), {1, 64}, v.pointer));
        const auto votes = v.read<int>();
        EXPECT_EQ(22, votes[0]);
        EXPECT_EQ(1, votes[1]);
        EXPECT_EQ(1, votes[2]);
        EXPECT_EQ(0, votes[3]);
        EXPECT_EQ(0u, found(""));
    }
}

TEST(launches_may_come_from_any_thread) {
    fresh("all");
    Kernels k(block_source);
    std::vector<int> in(256);
    Buffer x(in);
    CHECK(launch(k.function("reverse"), {1, 256, 1024}, x.pointer));
    void* context = nullptr;
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    // Checked shared memory used to be mapped for the first calling thread alone, and the second one crashed.
    std::thread([&] {
        CHECK(cuCtxSetCurrent(context));
        CHECK(launch(k.function("reverse"), {1, 256, 1024}, x.pointer));
    }).join();
    EXPECT_EQ(0u, found(""));
}

TEST(warp_operations) {
    for (const char* checks : {"none", "all"}) {
        fresh(checks);
        Kernels k(block_source);
        Buffer x(256 * 4);
        CHECK(launch(k.function("warp"), {1, 32}, x.pointer));
        const auto out = x.read<int>();
        for (int lane = 0; lane < 32; ++lane) {
            EXPECT_EQ(496, out[lane]);
            EXPECT_EQ(lane < 3 ? lane : lane - 3, out[32 + lane]);
            EXPECT_EQ(lane % 8 == 7 ? lane : lane + 1, out[64 + lane]);
            EXPECT_EQ(static_cast<int>(0xaaaaaaaau), out[96 + lane]);
            EXPECT_EQ(static_cast<int>(0xffu << (lane / 8 * 8)), out[128 + lane]);
            EXPECT_EQ(0, out[160 + lane]);
            EXPECT_EQ(lane < 16 ? 3 : 20, out[192 + lane]);
            EXPECT_EQ(7, out[224 + lane]);
        }
        if (found("")) std::puts(cudasim_findings_json());
        EXPECT_EQ(0u, found(""));
    }
}

TEST(atomic_operations) {
    for (const char* checks : {"none", "all"}) {
        fresh(checks);
        Kernels k(block_source);
        Buffer i(std::vector<int>(2)), f(std::vector<float>(1)), u(std::vector<unsigned>(3)),
            l(std::vector<uint64_t>(1)), d(std::vector<double>(1));
        CHECK(launch(k.function("atomics"), {100, 256}, i.pointer, f.pointer, u.pointer, l.pointer, d.pointer));
        EXPECT_EQ(25600, i.read<int>()[0]);
        EXPECT(i.read<int>()[1] >= 1);
        EXPECT(f.read<float>()[0] == 12800.0f);
        EXPECT_EQ(255u, u.read<unsigned>()[0]);
        EXPECT_EQ(42u, u.read<unsigned>()[1]);
        EXPECT_EQ(0xffffffffu, u.read<unsigned>()[2]);
        EXPECT_EQ(uint64_t{25600} << 33, l.read<uint64_t>()[0]);
        EXPECT(d.read<double>()[0] == 6400.0);
        EXPECT_EQ(0u, found(""));
    }
}

TEST(a_compile_error_names_file_and_line) {
    Kernels k("extern \"C\" __global__ void bad(float* x) {\n    x[0] = nothing;\n}\n");
    EXPECT_EQ(6, k.status);
    EXPECT(k.log.find("test.cu(2): error:") != std::string::npos);
    if (k.log.find("test.cu(2): error:") == std::string::npos) std::puts(k.log.c_str());
}

TEST(an_unknown_option_is_refused) {
    Kernels k("extern \"C\" __global__ void f() {}\n", {"--no-such-option"});
    EXPECT_EQ(5, k.status);
}

TEST(headers_come_from_memory_and_errors_name_them) {
    const auto compile = [](const char* header, std::string& log) {
        const char* headers[] = {header, "__device__ int three() { return 3; }\n"};
        const char* names[] = {"common/value.cuh", "common/inner.cuh"};
        void* program = nullptr;
        CHECK(nvrtcCreateProgram(&program,
                                 "#include \"common/value.cuh\"\n"
                                 "extern \"C\" __global__ void k(int* out) { out[0] = value(); }\n",
                                 "outer.cu", 2, headers, names));
        const int status = nvrtcCompileProgram(program, 0, nullptr);
        size_t size = 0;
        CHECK(nvrtcGetProgramLogSize(program, &size));
        log.resize(size);
        CHECK(nvrtcGetProgramLog(program, log.data()));
        nvrtcDestroyProgram(&program);
        return status;
    };
    std::string log;
    EXPECT_EQ(0, compile("#include \"inner.cuh\"\n__device__ int value() { return three(); }\n", log));
    EXPECT_EQ(6, compile("\n__device__ int value() { return four(); }\n", log));
    EXPECT(log.find("common/value.cuh(2): error:") != std::string::npos);
    EXPECT_EQ(6, compile("#include <cmath>\n__device__ int value() { return 0; }\n", log));  // no host headers
    EXPECT(log.find("common/value.cuh(1)") != std::string::npos);
}

TEST(a_name_that_is_no_kernel_is_refused) {
    Kernels k("template <class T> __global__ void f(T* x) { x[0] = 0; }\n", {}, {"g<float>"});
    EXPECT_EQ(10, k.status);
}

TEST(shared_declarations_of_every_form) {
    fresh("all");
    Kernels k(R"(
        template <int N> struct Tile { float v[N]; };
        template <class T, int N>
        __device__ T through_shared(T x) {
            __shared__ alignas(16) T one[N], two[N][2];
            __shared__ Tile<N> tile;
            __shared__
                int total;
            static __shared__ volatile int flag;
            one[threadIdx.x] = x;
            two[threadIdx.x][1] = x;
            tile.v[threadIdx.x] = 1;
            if (threadIdx.x == 0) { total = 5; flag = 2; }
            __syncthreads();
            return one[N - 1 - threadIdx.x] + two[0][1] + (T)tile.v[1] + total + flag;
        }
        extern "C" __global__ void k(int* out) {
            extern __shared__ __align__(16) unsigned char raw[];
            int* words = reinterpret_cast<int*>(raw);
            words[threadIdx.x] = through_shared<int, 32>(threadIdx.x);
            __syncthreads();
            out[threadIdx.x] = words[threadIdx.x];  // 31 - t + 0 + 1 + 5 + 2
        })");
    Buffer out(128);
    CHECK(launch(k.function("k"), {1, 32, 128}, out.pointer));
    for (int t = 0; t < 32; ++t) EXPECT_EQ(39 - t, out.read<int>()[static_cast<size_t>(t)]);
    if (found("")) std::puts(cudasim_findings_json());
    EXPECT_EQ(0u, found(""));
}
