// Stream capture: how it begins, what it refuses, how it ends in a graph.
#include <algorithm>

#include "driver.h"

namespace cudasim {

std::vector<Capture*>& active_captures() {
    static std::vector<Capture*> active;
    return active;
}

void invalidate(Stream& stream) {
    if (stream.capture) stream.capture->invalid = true;
}

int refuse_in_capture() {
    for (auto* c : active_captures()) {
        if (c->mode == 0 || (c->mode == 1 && c->thread == std::this_thread::get_id())) {
            c->invalid = true;
            return 900;
        }
    }
    return 0;
}

}  // namespace cudasim

using namespace cudasim;

// ----------------------------------------------------------------------------------------------------------

CUDASIM_API CUresult cuStreamBeginCapture_v2(void* handle, int mode) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (mode < 0 || mode > 2) return 1;
    if (stream == &context->default_stream) return 900;
    if (stream->capture) return 401;
    static uint64_t ids = 0;
    auto capture = std::make_shared<Capture>();
    capture->graph = std::make_unique<Graph>();
    capture->origin = stream;
    capture->streams = {stream};
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->id = ++ids;
    stream->capture = capture;
    stream->capture_after.clear();
    active_captures().push_back(capture.get());
    return 0;
}

CUDASIM_API CUresult cuStreamIsCapturing(void* handle, int* status) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (!status) return 1;
    *status = !stream->capture ? 0 : stream->capture->invalid ? 2 : 1;
    return 0;
}

CUDASIM_API CUresult cuStreamGetCaptureInfo_v2(void* handle, int* status, uint64_t* id, void** graph,
                                               const void*** after, size_t* count) {
    if (const int error = cuStreamIsCapturing(handle, status)) return error;
    auto* stream = stream_of(*current_context(), handle);
    if (id) *id = stream->capture ? stream->capture->id : 0;
    if (graph) *graph = stream->capture ? stream->capture->graph.get() : nullptr;
    if (after) *after = nullptr;
    if (count) *count = 0;
    return 0;
}

CUDASIM_API CUresult cuStreamEndCapture(void* handle, void** out) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (!out) return 1;
    *out = nullptr;
    if (!stream->capture) return 401;
    const auto capture = stream->capture;
    if (capture->origin != stream) {
        capture->invalid = true;
        return 903;
    }
    if (capture->mode != 2 && capture->thread != std::this_thread::get_id()) return 908;
    // Everything that was forked off must have come back: each node leads to this stream's last one.
    const auto& nodes = capture->graph->nodes;
    std::vector<bool> reached(nodes.size());
    std::vector<size_t> todo(stream->capture_after.begin(), stream->capture_after.end());
    while (!todo.empty()) {
        const auto node = todo.back();
        todo.pop_back();
        if (reached[node]) continue;
        reached[node] = true;
        todo.insert(todo.end(), nodes[node]->after.begin(), nodes[node]->after.end());
    }
    const bool joined = std::all_of(reached.begin(), reached.end(), [](bool r) { return r; });
    active_captures().erase(std::find(active_captures().begin(), active_captures().end(), capture.get()));
    for (auto* s : capture->streams) {
        s->capture.reset();
        s->capture_after.clear();
    }
    if (capture->invalid) return 901;
    if (!joined) {
        capture->invalid = true;
        return 904;
    }
    *out = capture->graph.release();
    return 0;
}
