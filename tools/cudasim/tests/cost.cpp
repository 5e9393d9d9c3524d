// What simulation costs on this machine: cudasim_tests --cost. A figure for planning tests, not a claim about any
// device.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "harness.h"

namespace {

const char* const source = R"(
#include "common/moments.cuh"
using namespace gpuengine;
extern "C" __global__ void nothing() {}
extern "C" __global__ void saxpy(float* y, const float* x, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
extern "C" __global__ void row_sum(float* out, const float* x, int n) {
    float s = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) s += x[blockIdx.x * n + i];
    s = block_sum(s);
    if (threadIdx.x == 0) out[blockIdx.x] = s;
}
)";

double seconds(const std::function<void()>& body) {
    std::vector<double> times;
    for (int i = 0; i < 5; ++i) {
        const auto start = std::chrono::steady_clock::now();
        body();
        times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(times.begin(), times.end());
    return times[2];
}

}  // namespace

void measure_cost() {
    const int n = 1 << 20;
    for (const char* checks : {"none", "memory", "race", "traffic", "all"}) {
        for (const char* seed : {"0", "1"}) {
            if (std::string(checks) != "all" && std::string(seed) == "1") continue;
            fresh(checks, seed);
            option("threads", "1");
            Kernels k(source);
            Buffer x(std::vector<float>(n, 1.0f)), y(std::vector<float>(n, 1.0f));
            void* nothing = k.function("nothing");
            void *saxpy = k.function("saxpy"), *rows = k.function("row_sum");
            const double launch_time = seconds([&] {
                                           for (int i = 0; i < 1000; ++i) launch(nothing, {1, 1});
                                       }) /
                                       1000;
            const double map = seconds([&] { launch(saxpy, {n / 256, 256}, y.pointer, x.pointer, 2.0f, n); });
            const double reduce = seconds([&] { launch(rows, {n / 1024, 256}, y.pointer, x.pointer, 1024); });
            std::printf(
                "check=%-8s seed=%s  empty launch %.2f us;  saxpy %.1f M threads/s (%.1f M accesses/s);  row sums %.1f "
                "M accesses/s, %.2f M threads/s\n",
                checks, seed, launch_time * 1e6, n / map / 1e6, 3 * n / map / 1e6, n / reduce / 1e6,
                n / 4 / reduce / 1e6);
        }
    }
}
