// Graphs: what a capture recorded, instantiated and replayed.
#include <algorithm>

#include "driver.h"

using namespace cudasim;

namespace {

struct UpdateResult {  // CUgraphExecUpdateResultInfo
    int result;
    void* error_node;
    void* error_from_node;
};

std::vector<GraphNode> copy_nodes(const Graph& graph) {
    std::vector<GraphNode> nodes;
    for (const auto& node : graph.nodes) nodes.push_back(*node);
    return nodes;
}

// Any order that respects the edges is right; with a seed, it is a random one.
std::vector<size_t> replay_order(const std::vector<GraphNode>& nodes) {
    const auto n = nodes.size();
    static uint64_t state = 88172645463325252ull;
    std::vector<size_t> waiting(n), order;
    std::vector<std::vector<size_t>> next(n);
    for (size_t i = 0; i < n; ++i) {
        waiting[i] = nodes[i].after.size();
        for (const auto before : nodes[i].after) next[before].push_back(i);
        if (waiting[i] == 0) order.push_back(i);
    }
    for (size_t first = 0; first < order.size(); ++first) {
        if (settings().seed) {
            state = state * 6364136223846793005ull + settings().seed;
            std::swap(order[first], order[first + (state >> 33) % (order.size() - first)]);
        }
        for (const auto after : next[order[first]])
            if (--waiting[after] == 0) order.push_back(after);
    }
    return order;
}

}  // namespace

CUDASIM_API CUresult cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
    CUDASIM_ENTER(context);
    if (!out || !graph) return 1;
    auto* exec = new GraphExec;
    exec->context = context;
    exec->nodes = copy_nodes(*static_cast<Graph*>(graph));
    *out = exec;
    return 0;
}

CUDASIM_API CUresult cuGraphInstantiate_v2(void** out, void* graph, void** error_node, char* log, size_t log_size) {
    if (error_node) *error_node = nullptr;
    if (log && log_size) *log = '\0';
    return cuGraphInstantiateWithFlags(out, graph, 0);
}

CUDASIM_API CUresult cuGraphUpload(void* exec, void* stream) {
    CUDASIM_ENTER(context);
    return !exec ? 1 : stream_of(*context, stream) ? 0 : 400;
}

CUDASIM_API CUresult cuGraphLaunch(void* handle, void* stream_handle) {
    CUDASIM_ENTER(context);
    auto* exec = static_cast<GraphExec*>(handle);
    auto* stream = stream_of(*context, stream_handle);
    if (!exec) return 1;
    if (!stream) return 400;
    if (stream->capture) {
        invalidate(*stream);
        return 801;  // child graphs are not simulated
    }
    for (const auto node : replay_order(exec->nodes))
        if (const int error = submit(*stream, exec->nodes[node].operation)) return error;
    return 0;
}

CUDASIM_API CUresult cuGraphExecUpdate_v2(void* handle, void* graph_handle, UpdateResult* result) {
    CUDASIM_ENTER(context);
    auto* exec = static_cast<GraphExec*>(handle);
    auto* graph = static_cast<Graph*>(graph_handle);
    if (!exec || !graph || !result) return 1;
    *result = {0, nullptr, nullptr};
    drain_all(*context);
    auto nodes = copy_nodes(*graph);
    if (nodes.size() != exec->nodes.size()) {
        result->result = 2;
        return 910;
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
        const bool type = nodes[i].operation.type == exec->nodes[i].operation.type;
        if (type && nodes[i].after == exec->nodes[i].after) continue;
        result->result = type ? 2 : 3;
        result->error_node = graph->nodes[i].get();
        return 910;
    }
    exec->nodes = std::move(nodes);
    return 0;
}

CUDASIM_API CUresult cuGraphExecDestroy(void* exec) {
    CUDASIM_ENTER(context);
    if (!exec) return 1;
    drain_all(*context);
    delete static_cast<GraphExec*>(exec);
    return 0;
}

CUDASIM_API CUresult cuGraphDestroy(void* graph) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!graph) return 1;
    delete static_cast<Graph*>(graph);
    return 0;
}

CUDASIM_API CUresult cuGraphGetNodes(void* handle, void** nodes, size_t* count) {
    CUDASIM_ENTER(context);
    (void)context;
    auto* graph = static_cast<Graph*>(handle);
    if (!graph || !count) return 1;
    if (!nodes) {
        *count = graph->nodes.size();
        return 0;
    }
    *count = std::min(*count, graph->nodes.size());
    for (size_t i = 0; i < *count; ++i) nodes[i] = graph->nodes[i].get();
    return 0;
}

CUDASIM_API CUresult cuGraphNodeGetType(void* node, int* type) {
    CUDASIM_ENTER(context);
    (void)context;
    if (!node || !type) return 1;
    *type = static_cast<GraphNode*>(node)->operation.type;
    return 0;
}
