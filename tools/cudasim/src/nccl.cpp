// NCCL between the virtual devices of this process, driven by one thread in groups or by a thread per rank. Every
// rank's stream arrives at a collective and goes on when all have; reductions run over the ranks in their order.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "driver.h"
#include "findings.h"
#include "gemm.h"

namespace {

using namespace cudasim;

enum Result {
    success = 0,
    unhandled_cuda = 1,
    system_error = 2,
    internal_error = 3,
    invalid_argument = 4,
    invalid_usage = 5,
    remote_error = 6
};
enum Kind { all_reduce, all_gather, reduce_scatter, broadcast, reduce, point_to_point };

struct UniqueId {
    char bytes[128];
};

size_t type_size(int type) {
    constexpr size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
    return type >= 0 && type < 10 ? sizes[type] : 0;
}

// One collective, once enqueued by all ranks; a captured one is met again at each replay.
struct Meeting {
    Kind kind = all_reduce;
    size_t count = 0;
    int type = 0, operation = 0, root = 0;
    struct Rank {
        uintptr_t send = 0, receive = 0;
        uint64_t arrivals = 0;
        bool joined = false;
    };
    std::vector<Rank> ranks;
    uint64_t completed = 0;
    int error = 0;
};

struct Clique {
    int ranks = 0;
    std::vector<uint64_t> next;                                             // by rank: collectives enqueued so far
    std::map<uint64_t, std::shared_ptr<Meeting>> meetings;                  // not yet enqueued by all
    std::map<std::pair<int, int>, std::pair<uint64_t, uint64_t>> messages;  // from, to: sent, received
    std::map<std::pair<std::pair<int, int>, uint64_t>, std::shared_ptr<Meeting>> open_messages;
};

struct Communicator {
    std::shared_ptr<Clique> clique;
    int rank = 0, device = 0;
};

std::map<std::string, std::shared_ptr<Clique>>& cliques() {
    static std::map<std::string, std::shared_ptr<Clique>> all;
    return all;
}

template <class T, class Load, class Store>
void fold(Meeting& m, size_t first, size_t count, const std::vector<uintptr_t>& into, Load load, Store store) {
    const auto n = m.ranks.size();
    for (size_t i = 0; i < count; ++i) {
        T value = load(m.ranks[0].send, first + i);
        for (size_t r = 1; r < n; ++r) {
            const T other = load(m.ranks[r].send, first + i);
            switch (m.operation) {
                case 1: value = static_cast<T>(value * other); break;
                case 2: value = std::max(value, other); break;
                case 3: value = std::min(value, other); break;
                default: value = static_cast<T>(value + other); break;
            }
        }
        if (m.operation == 4) value = static_cast<T>(value / static_cast<T>(n));
        for (const auto target : into) store(target, i, value);
    }
}

template <class T>
void fold_plain(Meeting& m, size_t first, size_t count, const std::vector<uintptr_t>& into) {
    fold<T>(
        m, first, count, into, [](uintptr_t p, size_t i) { return reinterpret_cast<const T*>(p)[i]; },
        [](uintptr_t p, size_t i, T v) { reinterpret_cast<T*>(p)[i] = v; });
}

void fold_any(Meeting& m, size_t first, size_t count, const std::vector<uintptr_t>& into) {
    switch (m.type) {
        case 0: return fold_plain<int8_t>(m, first, count, into);
        case 1: return fold_plain<uint8_t>(m, first, count, into);
        case 2: return fold_plain<int32_t>(m, first, count, into);
        case 3: return fold_plain<uint32_t>(m, first, count, into);
        case 4: return fold_plain<int64_t>(m, first, count, into);
        case 5: return fold_plain<uint64_t>(m, first, count, into);
        case 7: return fold_plain<float>(m, first, count, into);
        case 8: return fold_plain<double>(m, first, count, into);
        default: {
            const int type = m.type == 6 ? type_r_16f : type_r_16bf;
            return fold<float>(
                m, first, count, into,
                [type](uintptr_t p, size_t i) { return load_element<float>(p, static_cast<int64_t>(i), type); },
                [type](uintptr_t p, size_t i, float v) { store_element<float>(p, static_cast<int64_t>(i), type, v); });
        }
    }
}

// The results go to fresh memory first: a rank may send from where it receives.
void perform(Meeting& m) {
    const auto n = m.ranks.size(), bytes = m.count * type_size(m.type);
    const auto need = [&](uintptr_t address, size_t size, const char* what) {
        if (size == 0 || is_range_live(address, size)) return;
        report(Finding{"out_of_bounds",
                       std::string("nccl: ") + what + " buffer of " + std::to_string(size) +
                           " bytes: " + describe_address(address),
                       address});
        m.error = 700;
    };
    const auto deliver = [&](uintptr_t address, const std::vector<uint8_t>& from, size_t size) {
        std::memcpy(reinterpret_cast<void*>(address), from.data(), size);
        mark_written(address, size);
    };
    for (size_t r = 0; r < n; ++r) {
        const bool sends = m.kind == broadcast        ? static_cast<int>(r) == m.root
                           : m.kind == point_to_point ? r == 0
                                                      : true;
        const bool receives = m.kind == reduce           ? static_cast<int>(r) == m.root
                              : m.kind == point_to_point ? r == 1
                                                         : true;
        if (sends) need(m.ranks[r].send, m.kind == reduce_scatter ? bytes * n : bytes, "send");
        if (receives) need(m.ranks[r].receive, m.kind == all_gather ? bytes * n : bytes, "receive");
    }
    if (m.error) return;
    std::vector<uint8_t> result(m.kind == all_gather || m.kind == reduce_scatter ? bytes * n : bytes);
    const auto out = reinterpret_cast<uintptr_t>(result.data());
    switch (m.kind) {
        case all_reduce:
            fold_any(m, 0, m.count, {out});
            for (auto& r : m.ranks) deliver(r.receive, result, bytes);
            break;
        case reduce:
            fold_any(m, 0, m.count, {out});
            deliver(m.ranks[static_cast<size_t>(m.root)].receive, result, bytes);
            break;
        case reduce_scatter:
            fold_any(m, 0, m.count * n, {out});
            for (size_t r = 0; r < n; ++r) {
                std::memcpy(reinterpret_cast<void*>(m.ranks[r].receive), result.data() + r * bytes, bytes);
                mark_written(m.ranks[r].receive, bytes);
            }
            break;
        case all_gather:
            for (size_t r = 0; r < n; ++r)
                std::memcpy(result.data() + r * bytes, reinterpret_cast<const void*>(m.ranks[r].send), bytes);
            for (auto& r : m.ranks) deliver(r.receive, result, bytes * n);
            break;
        case broadcast:
            std::memcpy(result.data(), reinterpret_cast<const void*>(m.ranks[static_cast<size_t>(m.root)].send), bytes);
            for (auto& r : m.ranks) deliver(r.receive, result, bytes);
            break;
        case point_to_point:
            std::memcpy(result.data(), reinterpret_cast<const void*>(m.ranks[0].send), bytes);
            deliver(m.ranks[1].receive, result, bytes);
            break;
    }
}

// What a group collects: arrivals first, then the waits, so that no rank of the group blocks another.
struct Pending {
    Stream* stream;
    std::shared_ptr<Meeting> meeting;
    size_t rank;
};
thread_local int group_depth = 0;
thread_local std::vector<Pending> group;

int flush(const std::vector<Pending>& calls) {
    for (const auto& call : calls) {
        const auto meeting = call.meeting;
        const auto rank = call.rank;
        const int error = submit(*call.stream, {node_kernel,
                                                [meeting, rank] {
                                                    auto& m = *meeting;
                                                    m.ranks[rank].arrivals++;
                                                    const bool all = std::all_of(
                                                        m.ranks.begin(), m.ranks.end(),
                                                        [&](const auto& r) { return r.arrivals > m.completed; });
                                                    if (!all) return 0;
                                                    if (settings().lost_peer)
                                                        m.error = 220;
                                                    else
                                                        perform(m);
                                                    m.completed++;
                                                    return m.error;
                                                },
                                                {},
                                                "nccl"});
        if (error) return unhandled_cuda;
    }
    for (const auto& call : calls) {
        const auto meeting = call.meeting;
        const auto rank = call.rank;
        if (submit(*call.stream,
                   {node_empty, [meeting] { return meeting->error; },
                    [meeting, rank] { return meeting->completed >= meeting->ranks[rank].arrivals; }, "nccl wait"}))
            return unhandled_cuda;
    }
    return success;
}

int enqueue(Communicator* c, void* stream_handle, const std::shared_ptr<Meeting>& meeting, size_t rank) {
    auto* stream = stream_of(primary_context(c->device), stream_handle);
    if (!stream) return invalid_argument;
    const Pending call{stream, meeting, rank};
    if (group_depth > 0) {
        group.push_back(call);
        return success;
    }
    return flush({call});
}

int check(Communicator* c, int type, const void* buffer, size_t count) {
    if (!c || !type_size(type) || (count && !buffer)) return invalid_argument;
    if (settings().lost_peer) return remote_error;
    return success;
}

int collective(Kind kind, const void* send, void* receive, size_t count, int type, int operation, int root,
               void* handle, void* stream) {
    const std::lock_guard guard(driver_lock());
    auto* c = static_cast<Communicator*>(handle);
    if (const int error = check(c, type, send ? send : receive, count)) return error;
    auto& clique = *c->clique;
    if (operation < 0 || operation > 4 || root < 0 || root >= clique.ranks) return invalid_argument;
    const auto rank = static_cast<size_t>(c->rank);
    const auto number = clique.next[rank]++;
    auto& slot = clique.meetings[number];
    if (!slot) {
        slot = std::make_shared<Meeting>();
        slot->kind = kind;
        slot->count = count;
        slot->type = type;
        slot->operation = operation;
        slot->root = root;
        slot->ranks.resize(static_cast<size_t>(clique.ranks));
    }
    const auto meeting = slot;
    if (meeting->kind != kind || meeting->count != count || meeting->type != type || meeting->operation != operation ||
        meeting->root != root) {
        report(Finding{"collective_mismatch",
                       "collective " + std::to_string(number) + ": rank " + std::to_string(rank) +
                           " calls it with another kind, count, type, operation or root than an earlier rank"});
        return invalid_usage;
    }
    meeting->ranks[rank].send = reinterpret_cast<uintptr_t>(send);
    meeting->ranks[rank].receive = reinterpret_cast<uintptr_t>(receive);
    meeting->ranks[rank].joined = true;
    if (std::all_of(meeting->ranks.begin(), meeting->ranks.end(), [](const auto& r) { return r.joined; }))
        clique.meetings.erase(number);
    return enqueue(c, stream, meeting, rank);
}

int message(bool sends, const void* buffer, size_t count, int type, int peer, void* handle, void* stream) {
    const std::lock_guard guard(driver_lock());
    auto* c = static_cast<Communicator*>(handle);
    if (const int error = check(c, type, buffer, count)) return error;
    auto& clique = *c->clique;
    if (peer < 0 || peer >= clique.ranks) return invalid_argument;
    const auto way = sends ? std::make_pair(c->rank, peer) : std::make_pair(peer, c->rank);
    auto& [sent, received] = clique.messages[way];
    const auto number = sends ? sent++ : received++;
    auto& slot = clique.open_messages[{way, number}];
    const bool second = slot != nullptr;
    if (!second) {
        slot = std::make_shared<Meeting>();
        slot->kind = point_to_point;
        slot->count = count;
        slot->type = type;
        slot->ranks.resize(2);
    }
    const auto meeting = slot;
    if (second) clique.open_messages.erase({way, number});
    if (meeting->count != count || meeting->type != type) {
        report(Finding{"collective_mismatch", "message from rank " + std::to_string(way.first) + " to rank " +
                                                  std::to_string(way.second) +
                                                  " is sent and received with different counts or types"});
        return invalid_usage;
    }
    auto& side = meeting->ranks[sends ? 0 : 1];
    (sends ? side.send : side.receive) = reinterpret_cast<uintptr_t>(buffer);
    return enqueue(c, stream, meeting, sends ? 0 : 1);
}

}  // namespace

CUDASIM_API const char* ncclGetErrorString(int result) {
    switch (result) {
        case 0: return "no error";
        case 1: return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
        case 2: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
        case 3: return "internal error - please report this issue to the NCCL developers";
        case 4: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
        case 5: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
        case 6: return "remote process exited or there was a network error";
        case 7: return "NCCL operation in progress";
        default: return "unknown result code";
    }
}

CUDASIM_API const char* ncclGetLastError(void*) { return ""; }

CUDASIM_API int ncclGetVersion(int* version) {
    if (!version) return invalid_argument;
    *version = 22605;
    return success;
}

CUDASIM_API int ncclGetUniqueId(UniqueId* id) {
    const std::lock_guard guard(driver_lock());
    if (!id) return invalid_argument;
    static uint64_t number = 0;
    *id = {};
    std::snprintf(id->bytes, sizeof id->bytes, "cudasim clique %llu", static_cast<unsigned long long>(++number));
    return success;
}

CUDASIM_API int ncclCommInitRank(void** out, int ranks, UniqueId id, int rank) {
    const std::lock_guard guard(driver_lock());
    if (!out || ranks < 1 || rank < 0 || rank >= ranks) return invalid_argument;
    Context* context = nullptr;
    if (enter(&context)) return unhandled_cuda;
    auto& clique = cliques()[std::string(id.bytes, strnlen(id.bytes, sizeof id.bytes))];
    if (!clique) {
        clique = std::make_shared<Clique>();
        clique->ranks = ranks;
        clique->next.resize(static_cast<size_t>(ranks));
    }
    if (clique->ranks != ranks) return invalid_usage;
    *out = new Communicator{clique, rank, context->device};
    return success;
}

CUDASIM_API int ncclCommInitRankConfig(void** out, int ranks, UniqueId id, int rank, void*) {
    return ncclCommInitRank(out, ranks, id, rank);
}

CUDASIM_API int ncclCommInitAll(void** out, int ranks, const int* devices) {
    const std::lock_guard guard(driver_lock());
    if (!out || ranks < 1) return invalid_argument;
    auto clique = std::make_shared<Clique>();
    clique->ranks = ranks;
    clique->next.resize(static_cast<size_t>(ranks));
    for (int r = 0; r < ranks; ++r) {
        const int device = devices ? devices[r] : r;
        if (device < 0 || device >= settings().devices) return invalid_argument;
        out[r] = new Communicator{clique, r, device};
    }
    return success;
}

CUDASIM_API int ncclCommDestroy(void* comm) {
    if (!comm) return invalid_argument;
    delete static_cast<Communicator*>(comm);
    return success;
}

CUDASIM_API int ncclCommAbort(void* comm) { return ncclCommDestroy(comm); }
CUDASIM_API int ncclCommFinalize(void* comm) { return comm ? success : invalid_argument; }

CUDASIM_API int ncclCommCount(void* comm, int* count) {
    if (!comm || !count) return invalid_argument;
    *count = static_cast<Communicator*>(comm)->clique->ranks;
    return success;
}

CUDASIM_API int ncclCommUserRank(void* comm, int* rank) {
    if (!comm || !rank) return invalid_argument;
    *rank = static_cast<Communicator*>(comm)->rank;
    return success;
}

CUDASIM_API int ncclCommCuDevice(void* comm, int* device) {
    if (!comm || !device) return invalid_argument;
    *device = static_cast<Communicator*>(comm)->device;
    return success;
}

CUDASIM_API int ncclCommGetAsyncError(void* comm, int* result) {
    if (!comm || !result) return invalid_argument;
    *result = settings().lost_peer ? remote_error : success;
    return success;
}

CUDASIM_API int ncclGroupStart() {
    group_depth++;
    return success;
}

CUDASIM_API int ncclGroupEnd() {
    const std::lock_guard guard(driver_lock());
    if (group_depth == 0) return invalid_usage;
    if (--group_depth > 0) return success;
    const auto calls = std::move(group);
    group.clear();
    return flush(calls);
}

CUDASIM_API int ncclAllReduce(const void* send, void* receive, size_t count, int type, int operation, void* comm,
                              void* stream) {
    return collective(all_reduce, send, receive, count, type, operation, 0, comm, stream);
}
CUDASIM_API int ncclReduce(const void* send, void* receive, size_t count, int type, int operation, int root, void* comm,
                           void* stream) {
    return collective(reduce, send, receive, count, type, operation, root, comm, stream);
}
CUDASIM_API int ncclAllGather(const void* send, void* receive, size_t count, int type, void* comm, void* stream) {
    return collective(all_gather, send, receive, count, type, 0, 0, comm, stream);
}
CUDASIM_API int ncclReduceScatter(const void* send, void* receive, size_t count, int type, int operation, void* comm,
                                  void* stream) {
    return collective(reduce_scatter, send, receive, count, type, operation, 0, comm, stream);
}
CUDASIM_API int ncclBroadcast(const void* send, void* receive, size_t count, int type, int root, void* comm,
                              void* stream) {
    return collective(broadcast, send, receive, count, type, 0, root, comm, stream);
}
CUDASIM_API int ncclBcast(void* buffer, size_t count, int type, int root, void* comm, void* stream) {
    return collective(broadcast, buffer, buffer, count, type, 0, root, comm, stream);
}
CUDASIM_API int ncclSend(const void* buffer, size_t count, int type, int peer, void* comm, void* stream) {
    return message(true, buffer, count, type, peer, comm, stream);
}
CUDASIM_API int ncclRecv(void* buffer, size_t count, int type, int peer, void* comm, void* stream) {
    return message(false, buffer, count, type, peer, comm, stream);
}
