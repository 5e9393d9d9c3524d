// Streams and events: how an operation is recorded, run, or put off.
#include <algorithm>
#include <cstring>

#include "driver.h"

namespace cudasim {
namespace {

constexpr uintptr_t legacy_handle = 1, per_thread_handle = 2;

uint64_t random_number() {
    static uint64_t state = settings().seed * 2654435761u | 1;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

std::vector<Stream*> streams_with_work() {
    std::vector<Stream*> found;
    for (int device = 0; device < max_devices; ++device) {
        auto& context = primary_context(device);
        if (!context.default_stream.queue.empty()) found.push_back(&context.default_stream);
        for (auto& s : context.streams)
            if (!s->queue.empty()) found.push_back(s.get());
    }
    return found;
}

// Runs the first waiting operation of some stream that may go on; false when there is none.
bool step_any(int& error) {
    auto streams = streams_with_work();
    while (!streams.empty()) {
        const auto pick = settings().seed ? random_number() % streams.size() : 0;
        auto* stream = streams[pick];
        auto& first = stream->queue.front();
        if (!first.may_start || first.may_start()) {
            auto operation = std::move(first);
            stream->queue.pop_front();
            if (const int failed = run_operation(*stream->context, operation)) error = failed;
            return true;
        }
        streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(pick));
    }
    return false;
}

bool is_legacy(const Stream& stream) { return &stream == &stream.context->default_stream; }

}  // namespace

int run_operation(Context& context, Operation& operation) {
    if (context.sticky) return context.sticky;
    const int error = operation.run ? operation.run() : 0;
    // What a device reports after the fact stays with the context; a refused argument does not.
    if (error == 700 || error == 702 || error == 710 || error == 214 || error == 716 || error == 719 || error == 220 ||
        error == 701)
        context.sticky = error;
    return error;
}

int drain_until(const std::function<bool()>& done) {
    int error = 0;
    while (!done() && step_any(error)) {
    }
    return error;
}

namespace {

// Like drain_until, but what is missing may have to come from another thread (the other ranks of a collective).
int wait_until(const std::function<bool()>& done) {
    constexpr auto patience = std::chrono::seconds(20);
    const auto start = std::chrono::steady_clock::now();
    int error = drain_until(done);
    while (!done()) {
        if (std::chrono::steady_clock::now() - start > patience) return 909;  // on a device this would hang
        driver_lock().unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        driver_lock().lock();
        if (const int failed = drain_until(done)) error = failed;
    }
    return error;
}

}  // namespace

int drain(Stream& stream) {
    const int error = wait_until([&] { return stream.queue.empty(); });
    return stream.context->sticky ? stream.context->sticky : error;
}

int drain_all(Context& context) {
    const int error = wait_until([&] {
        return context.default_stream.queue.empty() && std::all_of(context.streams.begin(), context.streams.end(),
                                                                   [](const auto& s) { return s->queue.empty(); });
    });
    return context.sticky ? context.sticky : error;
}

namespace {

// The default stream comes after everything that blocking streams were given before.
void drain_blocking(Context& context) {
    wait_until([&] {
        return std::all_of(context.streams.begin(), context.streams.end(),
                           [](const auto& s) { return !s->is_blocking() || s->queue.empty(); });
    });
}

bool is_blocking_capture(const Context& context) {
    return std::any_of(active_captures().begin(), active_captures().end(), [&](const Capture* c) {
        return std::any_of(c->streams.begin(), c->streams.end(),
                           [&](const Stream* s) { return s->context == &context && s->is_blocking(); });
    });
}

void record(Stream& stream, Operation operation) {
    auto& graph = *stream.capture->graph;
    auto node = std::make_unique<GraphNode>();
    node->operation = std::move(operation);
    node->after.assign(stream.capture_after.begin(), stream.capture_after.end());
    stream.capture_after = {graph.nodes.size()};
    graph.nodes.push_back(std::move(node));
}

}  // namespace

int submit(Stream& stream, Operation operation) {
    if (stream.capture) {
        if (stream.capture->invalid) return 901;
        record(stream, std::move(operation));
        return 0;
    }
    auto& context = *stream.context;
    if (is_legacy(stream)) {
        if (is_blocking_capture(context)) {
            for (auto* c : active_captures()) c->invalid = true;
            return 906;
        }
        drain_blocking(context);
    }
    if (settings().deferred && !is_legacy(stream)) {
        stream.queue.push_back(std::move(operation));
        return 0;
    }
    // What cannot start yet waits in the stream's queue, and so does everything after it.
    if (!stream.queue.empty()) drain_until([&] { return stream.queue.empty(); });
    if (stream.queue.empty() && operation.may_start) drain_until(operation.may_start);
    if (!stream.queue.empty() || (operation.may_start && !operation.may_start())) {
        stream.queue.push_back(std::move(operation));
        return 0;
    }
    const int error = run_operation(context, operation);
    return error == context.sticky ? 0 : error;  // a device error is reported by the next call
}

int submit_and_wait(Context& context, Operation operation) {
    if (const int refused = refuse_in_capture()) return refused;
    if (const int error = submit(context.default_stream, std::move(operation))) return error;
    return drain(context.default_stream);
}

Stream* stream_of(Context& context, void* handle) {
    const auto value = reinterpret_cast<uintptr_t>(handle);
    if (value == 0 || value == legacy_handle || value == per_thread_handle) return &context.default_stream;
    for (auto& s : context.streams)
        if (s.get() == handle) return s.get();
    // A stream of another device may be used while its context is not current.
    for (int device = 0; device < max_devices; ++device)
        for (auto& s : primary_context(device).streams)
            if (s.get() == handle) return s.get();
    return nullptr;
}

}  // namespace cudasim

using namespace cudasim;

CUDASIM_API CUresult cuStreamCreateWithPriority(void** out, unsigned flags, int priority) {
    CUDASIM_ENTER(context);
    if (!out || flags > 1) return 1;
    auto stream = std::make_unique<Stream>();
    stream->context = context;
    stream->flags = flags;
    stream->priority = std::clamp(priority, -5, 0);
    *out = stream.get();
    context->streams.push_back(std::move(stream));
    return 0;
}

CUDASIM_API CUresult cuStreamCreate(void** out, unsigned flags) { return cuStreamCreateWithPriority(out, flags, 0); }

CUDASIM_API CUresult cuStreamDestroy_v2(void* handle) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (stream == &context->default_stream) return 400;
    if (stream->capture)
        invalidate(*stream);
    else if (const int error = drain(*stream); error == 909)
        return error;
    auto& streams = stream->context->streams;
    streams.erase(std::find_if(streams.begin(), streams.end(), [&](const auto& s) { return s.get() == handle; }));
    return 0;
}

CUDASIM_API CUresult cuStreamGetPriority(void* handle, int* priority) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (!priority) return 1;
    *priority = stream->priority;
    return 0;
}

CUDASIM_API CUresult cuStreamGetFlags(void* handle, unsigned* flags) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (!flags) return 1;
    *flags = stream->flags;
    return 0;
}

CUDASIM_API CUresult cuStreamGetCtx(void* handle, void** out) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (!out) return 1;
    *out = stream->context;
    return 0;
}

CUDASIM_API CUresult cuStreamSynchronize(void* handle) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (stream->capture) {
        invalidate(*stream);
        return 900;
    }
    if (stream == &context->default_stream) {
        if (is_blocking_capture(*context)) {
            for (auto* c : active_captures()) c->invalid = true;
            return 906;
        }
        drain_blocking(*context);
    }
    return drain(*stream);
}

CUDASIM_API CUresult cuStreamQuery(void* handle) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (stream->capture) {
        invalidate(*stream);
        return 900;
    }
    int error = 0;
    if (stream->queue.empty()) return 0;
    step_any(error);  // time passes between two questions
    return error ? error : 600;
}

CUDASIM_API CUresult cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    auto* event = static_cast<Event*>(event_handle);
    if (!event) return 400;
    if (event->capture) {
        if (event->capture->invalid) return 901;
        if (stream->capture && stream->capture != event->capture) {
            invalidate(*stream);
            event->capture->invalid = true;
            return 902;
        }
        if (!stream->capture) {
            if (stream == &context->default_stream) return 900;
            stream->capture = event->capture;
            stream->capture_after.clear();
            event->capture->streams.push_back(stream);
        }
        stream->capture_after.insert(event->capture_after.begin(), event->capture_after.end());
        return 0;
    }
    if (stream->capture) {
        if (stream->capture->invalid) return 901;
        invalidate(*stream);
        return 905;
    }
    const auto wanted = event->submitted;
    return submit(*stream, {node_empty, {}, [event, wanted] { return event->completed >= wanted; }, "wait"});
}

CUDASIM_API CUresult cuEventCreate(void** out, unsigned flags) {
    CUDASIM_ENTER(context);
    if (!out || flags > 7) return 1;
    auto* event = new Event;
    event->context = context;
    event->flags = flags;
    *out = event;
    return 0;
}

CUDASIM_API CUresult cuEventDestroy_v2(void* handle) {
    CUDASIM_ENTER(context);
    auto* event = static_cast<Event*>(handle);
    if (!event) return 400;
    drain_until([&] { return event->completed >= event->submitted; });
    delete event;
    return 0;
}

CUDASIM_API CUresult cuEventRecordWithFlags(void* handle, void* stream_handle, unsigned) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, stream_handle);
    auto* event = static_cast<Event*>(handle);
    if (!event) return 400;
    if (stream->capture) {
        if (stream->capture->invalid) return 901;
        event->capture = stream->capture;
        event->capture_after = stream->capture_after;
        return 0;
    }
    event->capture.reset();
    const auto number = ++event->submitted;
    return submit(*stream, {node_event_record,
                            [event, number] {
                                event->completed = number;
                                event->when = std::chrono::steady_clock::now();
                                return 0;
                            },
                            {},
                            "record"});
}

CUDASIM_API CUresult cuEventRecord(void* handle, void* stream) { return cuEventRecordWithFlags(handle, stream, 0); }

CUDASIM_API CUresult cuEventSynchronize(void* handle) {
    CUDASIM_ENTER(context);
    auto* event = static_cast<Event*>(handle);
    if (!event) return 400;
    if (event->capture) {
        event->capture->invalid = true;
        return 907;
    }
    const int error = wait_until([&] { return event->completed >= event->submitted; });
    return context->sticky ? context->sticky : error;
}

CUDASIM_API CUresult cuEventQuery(void* handle) {
    CUDASIM_ENTER(context);
    (void)context;
    auto* event = static_cast<Event*>(handle);
    if (!event) return 400;
    if (event->capture) {
        event->capture->invalid = true;
        return 907;
    }
    if (event->completed >= event->submitted) return 0;
    int error = 0;
    step_any(error);
    return error ? error : 600;
}

CUDASIM_API CUresult cuEventElapsedTime(float* milliseconds, void* start, void* end) {
    CUDASIM_ENTER(context);
    (void)context;
    const auto* a = static_cast<Event*>(start);
    const auto* b = static_cast<Event*>(end);
    if (!milliseconds) return 1;
    if (!a || !b || a->flags & 2 || b->flags & 2 || a->submitted == 0 || b->submitted == 0) return 400;
    if (a->completed < a->submitted || b->completed < b->submitted) return 600;
    *milliseconds = std::chrono::duration<float, std::milli>(b->when - a->when).count();
    return 0;
}

CUDASIM_API CUresult cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
    return cuEventElapsedTime(milliseconds, start, end);
}

CUDASIM_API CUresult cuLaunchHostFunc(void* handle, void (*function)(void*), void* data) {
    CUDASIM_ENTER(context);
    STREAM_OR_RETURN(stream, handle);
    if (!function) return 1;
    return submit(*stream, {node_host,
                            [=] {
                                function(data);
                                return 0;
                            },
                            {},
                            "host"});
}
