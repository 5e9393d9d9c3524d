// Inverted dropout, forward and (applied to dy) backward: y = kept ? x SCALE : 0, SCALE = 1 / (1 - p).
//
// Element i is kept where the uniform number of word i % 4 of Philox block i / 4 (common/philox.cuh) is at least the threshold;
// compared as integers: word >> 8 against THRESHOLD = ceil(p 2^24). The mask is bit-equal on every device, for every dtype, and in
// the backward pass, which draws it again. Seed and offset are read from device memory, so that a replayed graph draws afresh.
// Layout: contiguous. Mapping: one Philox block (four elements, one access) per thread, grid-stride; all four words are used.
// Bytes per element: 2 T. Arithmetic in f32.
#include "common/philox.cuh"

#ifndef DTYPE
#define DTYPE float
#endif
#ifndef VECTOR  // 4, or 1 where an address may be unaligned
#define VECTOR 4
#endif
#ifndef THRESHOLD
#define THRESHOLD 8388608u
#endif
#ifndef SCALE
#define SCALE 2.0f
#endif
#ifndef STREAM
#define STREAM 0u
#endif

using namespace gpuengine;

using T = DTYPE;

static_assert(VECTOR == 4 || VECTOR == 1, "a vector is a Philox block");

DEVICE T drop(T x, u32 word) { return from_float<T>((word >> 8) >= THRESHOLD ? to_float(x) * SCALE : 0.0f); }

extern "C" __global__ void __launch_bounds__(256) dropout(T* y, const T* x, const i64* state, i64 count) {
    __shared__ u64 generator[2];  // read once per block, not per thread
    if (threadIdx.x < 2) generator[threadIdx.x] = static_cast<u64>(state[threadIdx.x]);
    __syncthreads();
    const u64 seed = generator[0];
    const u32 offset = static_cast<u32>(generator[1]);
    for (i64 quad = global_thread(); quad * 4 < count; quad += global_threads()) {
        const auto words = random_words(seed, STREAM, offset, static_cast<u64>(quad));
        if (VECTOR == 4 && quad * 4 + 4 <= count) {
            auto v = load<VECTOR>(x + quad * 4);
#pragma unroll
            for (int e = 0; e < VECTOR; ++e) v[e] = drop(v[e], words[e]);
            store(y + quad * 4, v);
        } else {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                if (quad * 4 + e < count) y[quad * 4 + e] = drop(x[quad * 4 + e], words[e]);
            }
        }
    }
}
