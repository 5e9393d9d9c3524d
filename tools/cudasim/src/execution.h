// The simulated machine while a kernel runs: threads (fibers), warps, blocks, and the launch they belong to.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace cudasim {

struct Dim3 {
    unsigned x = 1, y = 1, z = 1;
    uint64_t count() const { return uint64_t{x} * y * z; }
};

constexpr unsigned warp_size = 32;
constexpr size_t shared_slot_bytes = size_t{1} << 20;  // address range of one resident block's shared memory
constexpr size_t shared_guard = 256;                   // redzone between two shared variables
constexpr size_t dynamic_shared_offset = 1024;         // where dynamic shared memory begins in a slot

struct Block;
struct Launch;
struct Warp;
class Worker;

enum class ThreadState : uint8_t { fresh, ready, running, at_barrier, at_warp, at_cluster, finished };

struct AccessEntry {  // one memory access of one thread, kept until its warp's requests are formed
    uintptr_t pc;
    uint64_t address : 48;
    uint64_t size : 8;
    uint64_t kind : 8;
};

struct Thread {
    void* stack_pointer = nullptr;
    uint8_t* stack = nullptr;
    Block* block = nullptr;
    Warp* warp = nullptr;
    Dim3 index;
    uint32_t id = 0;  // linear in the block
    uint32_t lane = 0;
    ThreadState state = ThreadState::fresh;
    // What a waiting thread brought to its barrier or warp collective.
    uint32_t line = 0;
    int operation = 0, argument = 0, width = 0;
    uint32_t mask = 0;
    uint64_t value = 0, result = 0;
    // For the race checker.
    uint16_t partial_clock = 0;
    uint32_t fence_epoch = 0;
    uint32_t spins = 0;
    uint32_t cluster_phase = 0;
    std::vector<AccessEntry> accesses;
};

struct Warp {
    Block* block = nullptr;
    Thread* lanes[warp_size] = {};
    uint32_t live = 0, waiting = 0;
    uint32_t full_syncs = 0;
    bool partial = false;
    uint16_t seen[warp_size][warp_size] = {};  // seen[a][b]: what a knows of b's partial clock
};

struct Block {
    Launch* launch = nullptr;
    Worker* worker = nullptr;
    Dim3 index;
    uint32_t id = 0;
    uint32_t cluster_rank = 0;
    int slot = 0;
    uint8_t* shared = nullptr;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    uint32_t live = 0, at_barrier = 0, at_cluster = 0, cluster_phase = 0;
    int barrier_kind = 0, barrier_result = 0, barrier_count = 0;
    uint32_t epoch = 0, fence_epoch = 0;
    bool fenced_before_barrier = false;
    size_t shared_used = 0;                 // bytes of the slot that hold variables or guards
    std::vector<uint8_t> shared_ready;      // by shared variable: shadow prepared for this block
    std::vector<uint32_t> acquired;         // by block: epochs below this are visible here
    std::vector<uint32_t> acquired_thread;  // by block: this thread's accesses at that epoch are visible too
};

struct SharedVariable {
    const void* tag;
    size_t size, offset;
    std::string name;
};

struct SiteTraffic {
    uint64_t requests = 0, sectors = 0, ideal_sectors = 0, bytes = 0, wavefronts = 0, ideal_wavefronts = 0,
             max_ways = 0;
    uint8_t kind = 0;
};

struct Counters {
    uint64_t global_read_bytes = 0, global_write_bytes = 0;
    uint64_t global_read_requests = 0, global_write_requests = 0;
    uint64_t global_read_sectors = 0, global_write_sectors = 0;
    uint64_t global_read_ideal_sectors = 0, global_write_ideal_sectors = 0;
    uint64_t unique_read_bytes = 0, unique_write_bytes = 0;
    uint64_t shared_read_bytes = 0, shared_write_bytes = 0;
    uint64_t shared_requests = 0, shared_wavefronts = 0, shared_excess_wavefronts = 0, shared_max_ways = 0;
    uint64_t remote_shared_bytes = 0;
    uint64_t global_atomics = 0, shared_atomics = 0;
    uint64_t barriers = 0, divergent_barriers = 0, warp_syncs = 0, cluster_barriers = 0;
    uint64_t blocks = 0, threads = 0;
    std::unordered_map<uintptr_t, SiteTraffic> sites;
};

struct KernelImage;  // a loaded shared object (module.h)

// What an atomic location has published: for each block, the epoch below which its accesses are visible.
struct SyncObject {
    std::vector<uint32_t> epochs, threads;
};

constexpr uint32_t any_thread = 0xffffffffu;

struct Launch {
    std::string kernel;
    void (*thunk)(void**) = nullptr;
    void** arguments = nullptr;
    const KernelImage* image = nullptr;
    int device = 0;
    Dim3 grid, block, cluster;
    size_t dynamic_shared = 0, shared_limit = 0;
    bool cooperative = false;
    uint64_t number = 0;
    uint32_t start_epoch = 0;
    Counters counters;
    std::mutex shared_lock;
    std::vector<SharedVariable> shared_variables;
    size_t static_shared = 0;
    std::atomic<int> error{0};
    std::unordered_map<uintptr_t, SyncObject> sync_objects;
};

extern thread_local Thread* current __attribute__((tls_model("initial-exec")));

// Fibers (fiber.cpp).
uint8_t* take_stack(Worker& worker);
void* fresh_fiber(uint8_t* stack, void (*entry)());
extern "C" void cudasim_switch(void** save, void* load);
constexpr size_t stack_bytes = 256 * 1024;

// One operating system thread that runs blocks. Its fibers never leave it.
class Worker {
public:
    Worker();
    ~Worker();
    Worker(const Worker&) = delete;

    // Runs the blocks [first, first + count) of the order, all resident at once.
    void run_group(Launch& launch, const uint32_t* block_ids, unsigned count);

    // Called by fibers.
    void make_ready(Thread& t) {
        t.state = ThreadState::ready;
        ready_.push_back(&t);
    }
    void wait(ThreadState why);  // the current thread stops until somebody makes it ready
    void yield();                // the current thread lets the others go first
    [[noreturn]] void abort_launch(int error);
    void maybe_preempt() {
        if (random_order_ && (next_random() & 63) == 0) yield();
    }
    bool others_ready() const { return head_ < ready_.size(); }
    Block& block_of_slot(size_t slot) { return *blocks_[slot]; }
    size_t resident() const { return resident_; }
    uint8_t* shared_base() const { return shared_base_; }
    bool owns_shared(uintptr_t a) const {
        return a - reinterpret_cast<uintptr_t>(shared_base_) < resident_ * shared_slot_bytes;
    }
    uint64_t next_random() {
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        return random_ ^= random_ << 17;
    }
    void set_seed(uint64_t seed) {
        random_order_ = seed != 0;
        random_ = seed * 0x9E3779B97F4A7C15ull | 1;
    }
    bool random_order() const { return random_order_; }
    std::vector<uint8_t*> free_stacks;

private:
    static void fiber_main();
    Thread* pick();
    void start_block(Launch& launch, uint32_t id, unsigned slot);
    void report_stuck(Launch& launch);

    std::vector<Thread*> ready_;
    size_t head_ = 0;
    std::vector<std::unique_ptr<Block>> blocks_;
    size_t resident_ = 0, slots_ = 0;
    uint8_t* shared_base_ = nullptr;
    void* main_context_ = nullptr;
    bool random_order_ = false, aborted_ = false;
    uint64_t random_ = 1;
    std::vector<uint8_t*> used_stacks_;
    friend uint8_t* take_stack(Worker&);
    void reserve_slots(unsigned count);
};

// Steps of a thread's life (barrier.cpp, warp.cpp).
void thread_exited(Thread& t);
void barrier_thread_exited(Block& block);
void warp_lane_exited(Warp& warp);
void cluster_thread_exited(Block& block);

// Runs a whole grid (launch.cpp); returns a CUresult.
int run_launch(Launch& launch);

uint32_t next_epoch();

}  // namespace cudasim
