// Runs a grid: its blocks in groups (a cluster, a cooperative grid, or one by one), and what kernels ask of the
// simulator.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include "device_abi.h"
#include "execution.h"
#include "findings.h"
#include "memory.h"
#include "settings.h"
#include "shadow.h"
#include "traffic.h"

namespace cudasim {
namespace {

// The order of blocks such that the blocks of a cluster are next to each other.
std::vector<uint32_t> block_order(const Launch& launch, uint64_t seed) {
    const auto blocks = static_cast<uint32_t>(launch.grid.count());
    std::vector<uint32_t> order;
    order.reserve(blocks);
    const auto& g = launch.grid;
    const auto& c = launch.cluster;
    if (c.count() == 1) {
        order.resize(blocks);
        std::iota(order.begin(), order.end(), 0u);
    } else {
        for (unsigned z = 0; z < g.z; z += c.z)
            for (unsigned y = 0; y < g.y; y += c.y)
                for (unsigned x = 0; x < g.x; x += c.x)
                    for (unsigned k = 0; k < c.z; ++k)
                        for (unsigned j = 0; j < c.y; ++j)
                            for (unsigned i = 0; i < c.x; ++i) order.push_back(x + i + g.x * (y + j + g.y * (z + k)));
    }
    if (seed) {
        const auto size = static_cast<uint32_t>(c.count()), groups = blocks / size;
        uint64_t state = seed * 0x9E3779B97F4A7C15ull | 1;
        for (uint32_t i = groups; i > 1; --i) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            const auto j = static_cast<uint32_t>(state % i);
            std::swap_ranges(order.begin() + (i - 1) * size, order.begin() + i * size, order.begin() + j * size);
        }
    }
    return order;
}

Worker& main_worker() {
    static Worker worker;
    return worker;
}

// Independent blocks on several host threads. Only without checks: those want one order that can be repeated.
void run_parallel(Launch& launch, const std::vector<uint32_t>& order, unsigned threads) {
    std::atomic<size_t> next{0};
    const auto work = [&](Worker& worker) {
        for (size_t i; !launch.error && (i = next.fetch_add(1)) < order.size();) worker.run_group(launch, &order[i], 1);
    };
    static std::vector<std::unique_ptr<Worker>> helpers;
    while (helpers.size() + 1 < threads) helpers.push_back(std::make_unique<Worker>());
    std::vector<std::thread> running;
    for (unsigned i = 1; i < threads; ++i) running.emplace_back([&, i] { work(*helpers[i - 1]); });
    work(main_worker());
    for (auto& t : running) t.join();
}

}  // namespace

int run_launch(Launch& launch) {
    const auto& s = settings();
    launch.start_epoch = next_epoch();
    if (launch.start_epoch > 0xF0000000u)
        std::fprintf(stderr, "cudasim: race epochs are nearly used up; restart the process\n");
    if (s.check_memory || s.traffic) device_shadow(launch.device).clear_footprint();
    auto& worker = main_worker();
    worker.set_seed(s.seed ? s.seed + launch.number * 7919 : 0);
    const auto order = block_order(launch, s.seed ? s.seed + launch.number : 0);
    const auto blocks = static_cast<unsigned>(order.size());
    const auto cluster = static_cast<unsigned>(launch.cluster.count());
    // A random order interleaves a few clusters, so that blocks meet in the middle of their work.
    const unsigned group = launch.cooperative ? blocks
                           : s.seed           ? std::min(blocks, std::max(1u, 4 / cluster) * cluster)
                                              : cluster;
    const auto cores = s.threads > 0 ? static_cast<unsigned>(s.threads) : std::thread::hardware_concurrency();
    const auto work = launch.grid.count() * launch.block.count();
    if (!s.checked() && group == 1 && cores > 1 && blocks > 1 && work >= 16384) {
        run_parallel(launch, order, std::min(cores, blocks));
    } else {
        for (unsigned first = 0; first < blocks && !launch.error; first += group)
            worker.run_group(launch, &order[first], std::min(group, blocks - first));
    }
    if (s.traffic) keep_counters(launch);
    return launch.error;
}

}  // namespace cudasim

using namespace cudasim;

namespace {
CudasimUint3 plain(const Dim3& d) { return {d.x, d.y, d.z}; }
}  // namespace

CudasimUint3 cudasim_thread_idx() { return plain(current->index); }
CudasimUint3 cudasim_block_idx() { return plain(current->block->index); }
CudasimUint3 cudasim_block_dim() { return plain(current->block->launch->block); }
CudasimUint3 cudasim_grid_dim() { return plain(current->block->launch->grid); }
CudasimUint3 cudasim_cluster_dim() { return plain(current->block->launch->cluster); }
unsigned cudasim_cluster_rank() { return current->block->cluster_rank; }
unsigned cudasim_lane() { return current->lane; }

void cudasim_grid_barrier_used() {
    auto& launch = *current->block->launch;
    if (launch.cooperative || launch.grid.count() == 1) return;
    report(Finding{"not_cooperative",
                   "a grid barrier in a launch that is not cooperative: blocks that are not resident would hang it"},
           *current, 0);
    current->block->worker->abort_launch(719);
}

void cudasim_yield() { current->block->worker->yield(); }

void cudasim_trap() {
    report(Finding{"trap", "the kernel executed __trap"}, *current,
           reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
    current->block->worker->abort_launch(719);
}

void cudasim_assert_failed(const char* text, const char* file, unsigned line) {
    report(Finding{"assert", std::string(file) + "(" + std::to_string(line) + "): assertion failed: " + text}, *current,
           reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
    current->block->worker->abort_launch(710);
}

long long cudasim_clock() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
