// Element-wise activations.
//
//   activation_forward    y = f(x)                          2 T per element moved (T = bytes of the storage type)
//   activation_backward   dx = dy f'(x)                     3 T
//
// Layout: contiguous. Mapping: one 16-byte vector per thread, grid-stride; VECTOR 1 where a tensor may start anywhere, and as the
// naive variant. Live registers: two vectors (4 each) and what the function needs, at most 32: 2048 threads are resident, with 16
// or 32 bytes each in flight. Arithmetic in f32. x and y, dy and dx may be one tensor.
#include "common/activations.cuh"
#include "common/vector.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR * sizeof(T) <= 16, "a vector is one access");

using F = CompiledActivation;

extern "C" __global__ void __launch_bounds__(256) activation_forward(T* y, const T* x, i64 count) {
    const i64 vectors = count / VECTOR;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        auto v = to_float(load<VECTOR>(x + i * VECTOR));
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) v[e] = F::forward(v[e]);
        store(y + i * VECTOR, from_float<T>(v));
    }
    for (i64 i = vectors * VECTOR + global_thread(); i < count; i += global_threads()) y[i] = from_float<T>(F::forward(to_float(x[i])));
}

extern "C" __global__ void __launch_bounds__(256) activation_backward(T* dx, const T* dy, const T* x, i64 count) {
    const i64 vectors = count / VECTOR;
    for (i64 i = global_thread(); i < vectors; i += global_threads()) {
        auto g = to_float(load<VECTOR>(dy + i * VECTOR));
        const auto v = to_float(load<VECTOR>(x + i * VECTOR));
#pragma unroll
        for (int e = 0; e < VECTOR; ++e) g[e] *= F::derivative(v[e]);
        store(dx + i * VECTOR, from_float<T>(g));
    }
    for (i64 i = vectors * VECTOR + global_thread(); i < count; i += global_threads())
        dx[i] = from_float<T>(to_float(dy[i]) * F::derivative(to_float(x[i])));
}
