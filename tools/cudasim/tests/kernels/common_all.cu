// Uses every header of kernels/common once, so that each is compiled for the simulator and for PTX.
#include "common/cluster.cuh"
#include "common/grid.cuh"
#include "common/math.cuh"
#include "common/moments.cuh"
#include "common/philox.cuh"
#include "common/vector.cuh"

using namespace gpuengine;

extern "C" __global__ void convert(u16* out_bf16, u16* out_f16, float* back_bf16, float* back_f16, const float* in,
                                   int n) {
    const i64 i = global_thread();
    if (i >= n) return;
    const bf16 b = from_float<bf16>(in[i]);
    const f16 h = from_float<f16>(in[i]);
    out_bf16[i] = b.bits;
    out_f16[i] = h.bits;
    back_bf16[i] = to_float(b);
    back_f16[i] = to_float(h);
}

extern "C" __global__ void philox_words(u32* out, float* uniforms, u64 seed, u32 stream, u32 offset, int quads) {
    const i64 q = global_thread();
    if (q >= quads) return;
    const Vec<u32, 4> words = random_words(seed, stream, offset, static_cast<u64>(q));
    Vec<float, 4> u;
    for (int i = 0; i < 4; ++i) u[i] = uniform(words[i]);
    store(out + 4 * q, words);
    store(uniforms + 4 * q, u);
}

template <class T, int N>
__global__ void copy_scaled(T* out, const T* in, float factor, int vectors) {
    const i64 i = global_thread();
    if (i >= vectors) return;
    auto v = to_float(load_once<N>(in + i * N));
    for (int k = 0; k < N; ++k) v[k] *= factor;
    store_once(out + i * N, from_float<T>(v));
}

// Mean and variance of each row by a cluster; grid (blocks per row, rows).
extern "C" __global__ void __launch_bounds__(128) row_moments(float* mean, float* variance, const float* x, int n) {
    const u32 rank = cluster_rank(), blocks = cluster_blocks();
    auto m = Moments<>::empty();
    for (int i = static_cast<int>(rank * blockDim.x + threadIdx.x); i < n; i += static_cast<int>(blocks * blockDim.x))
        m.add(x[static_cast<i64>(blockIdx.y) * n + i]);
    m = cluster_reduce(m, Merge(), Moments<>::empty());
    if (rank == 0 && threadIdx.x == 0) {
        mean[blockIdx.y] = m.mean;
        variance[blockIdx.y] = m.variance();
    }
}

// Sum by blocks, then by the last block: deterministic, one launch.
extern "C" __global__ void sum_last_block(float* out, float* partial, u32* counter, const float* x, int n) {
    float s = 0;
    for (i64 i = global_thread(); i < n; i += global_threads()) s += x[i];
    s = block_sum(s);
    if (threadIdx.x == 0) partial[block_rank()] = s;
    if (!is_last_block(counter)) return;
    s = 0;
    for (u32 i = threadIdx.x; i < gridDim.x; i += blockDim.x) s += partial[i];
    s = block_sum(s);
    if (threadIdx.x == 0) *out = s;
}

// Normalises by the whole grid's mean: two phases around a grid barrier, twice.
extern "C" __global__ void centre_twice(float* x, float* partial, u32* counter, int n) {
    for (int pass = 0; pass < 2; ++pass) {
        float s = 0;
        for (i64 i = global_thread(); i < n; i += global_threads()) s += x[i];
        s = block_sum(s);
        if (threadIdx.x == 0) partial[block_rank()] = s;
        grid_sync(counter);
        float total = 0;
        for (u32 i = 0; i < gridDim.x; ++i) total += partial[i];
        for (i64 i = global_thread(); i < n; i += global_threads()) x[i] -= total / n;
        grid_sync(counter);
    }
}

extern "C" __global__ void mathematics(float* out, const float* in) {
    DYNAMIC_SHARED(float, buffer);
    const float x = in[threadIdx.x];
    buffer[threadIdx.x] = erff(x) + tanhf(x) + expf(x) + log1pf(fabsf(x)) + rsqrtf(x * x + 1.0f) + __expf(-x);
    __syncwarp();
    out[threadIdx.x] = buffer[threadIdx.x ^ 1] + warp_max(x) + (x > kMaxFloat ? infinity() : 0.0f);
}
