// What the driver's parts share: contexts, streams, events, graphs, and the way an operation gets to a stream.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "device_abi.h"
#include "execution.h"
#include "memory.h"
#include "module.h"
#include "settings.h"

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;

namespace cudasim {

struct Context;
struct Stream;
struct Capture;

enum NodeType {
    node_kernel = 0,
    node_memcpy = 1,
    node_memset = 2,
    node_host = 3,
    node_empty = 5,
    node_event_record = 7
};

struct Operation {
    int type = node_empty;
    std::function<int()> run;         // a CUresult
    std::function<bool()> may_start;  // empty: at once
    std::string name;
};

struct GraphNode {
    Operation operation;
    std::vector<size_t> after;  // indices of nodes that come first
};

struct Graph {
    std::vector<std::unique_ptr<GraphNode>> nodes;
};

struct GraphExec {
    Context* context = nullptr;
    std::vector<GraphNode> nodes;
};

struct Event {
    Context* context = nullptr;
    unsigned flags = 0;
    uint64_t submitted = 0, completed = 0;  // counts of records
    std::chrono::steady_clock::time_point when{};
    std::shared_ptr<Capture> capture;
    std::set<size_t> capture_after;
};

struct Stream {
    Context* context = nullptr;
    unsigned flags = 0;
    int priority = 0;
    std::deque<Operation> queue;
    std::shared_ptr<Capture> capture;
    std::set<size_t> capture_after;
    bool is_blocking() const { return !(flags & 1u); }
};

struct Capture {
    std::unique_ptr<Graph> graph;
    Stream* origin = nullptr;
    std::vector<Stream*> streams;
    int mode = 0;
    std::thread::id thread;
    uint64_t id = 0;
    bool invalid = false;
};

struct Context {
    int device = 0;
    int references = 0;
    unsigned flags = 0;
    bool active = false;
    int sticky = 0;
    uint64_t peers = 0;  // bit per device whose memory kernels of this one may use
    Stream default_stream;
    std::vector<std::unique_ptr<Stream>> streams;
};

// One lock for the whole driver: the simulator runs kernels inside its calls, one at a time.
std::recursive_mutex& driver_lock();
extern bool initialised;

Context* current_context();
void set_current_context(Context* context);
Context& primary_context(int device);

// The first thing every call does: initialised, a current context, no sticky error. Zero or a CUresult.
int enter(Context** context = nullptr);
#define CUDASIM_ENTER(context)                  \
    const std::lock_guard guard(driver_lock()); \
    Context* context = nullptr;                 \
    if (const int error = enter(&context)) return error

// The stream a handle means; null for a handle that is none.
Stream* stream_of(Context& context, void* handle);

// Hands an operation to a stream: recorded when the stream captures, run at once otherwise (or when waited for).
int submit(Stream& stream, Operation operation);
// The same for calls that do not return before they are done.
int submit_and_wait(Context& context, Operation operation);
int drain(Stream& stream);
int drain_all(Context& context);
int drain_until(const std::function<bool()>& done);
int run_operation(Context& context, Operation& operation);

// Zero, or the error of a call that may not be made while something captures; the capture is then invalid.
int refuse_in_capture();
void invalidate(Stream& stream);
std::vector<Capture*>& active_captures();

// Copies with everything the checks want to know.
int copy_bytes(uintptr_t to, uintptr_t from, size_t bytes);
int fill_bytes(uintptr_t to, const void* pattern, size_t pattern_bytes, size_t count);

// Counts a launch for the faults to be injected: zero or the error to fail with.
int launch_fault();

}  // namespace cudasim

#define STREAM_OR_RETURN(stream, handle)        \
    auto* stream = stream_of(*context, handle); \
    if (!stream) return 400
