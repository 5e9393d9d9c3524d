// Small real kernels without bugs: what no check may complain about.
#include "common/cluster.cuh"
#include "common/moments.cuh"
#include "common/vector.cuh"

using namespace gpuengine;

// out[c][r] = in[r][c] through a padded tile; 32 x 8 threads.
extern "C" __global__ void __launch_bounds__(256) transpose(float* out, const float* in, int rows, int columns) {
    __shared__ float tile[32][33];
    const int c = blockIdx.x * 32 + threadIdx.x;
    for (int k = threadIdx.y; k < 32; k += 8) {
        const int r = blockIdx.y * 32 + k;
        if (r < rows && c < columns) tile[k][threadIdx.x] = in[r * columns + c];
    }
    __syncthreads();
    const int r = blockIdx.y * 32 + threadIdx.x;
    for (int k = threadIdx.y; k < 32; k += 8) {
        const int column = blockIdx.x * 32 + k;
        if (r < rows && column < columns) out[column * rows + r] = tile[threadIdx.x][k];
    }
}

// batch_norm over N rows of C channels, one warp's lanes on 32 neighbouring channels, warps over the rows; x is kept in
// shared memory so that it is read once. Grid: C / 32 blocks.
template <class T, int Warps>
__global__ void __launch_bounds__(Warps * 32)
    batch_norm(T* y, float* mean, float* variance, const T* x, const float* gamma, const float* beta, int rows,
               int channels, float eps) {
    DYNAMIC_SHARED(float, kept);  // rows x 32
    __shared__ Moments<float> partial[Warps][32];
    const int lane = threadIdx.x, warp = threadIdx.y, c = blockIdx.x * 32 + lane;
    auto m = Moments<float>::empty();
    for (int r = warp; r < rows; r += Warps) {
        const float v = to_float(x[static_cast<i64>(r) * channels + c]);
        kept[r * 32 + lane] = v;
        m.add(v);
    }
    partial[warp][lane] = m;
    __syncthreads();
    m = partial[0][lane];
    for (int w = 1; w < Warps; ++w) m = merge(m, partial[w][lane]);
    if (warp == 0) {
        mean[c] = m.mean;
        variance[c] = m.variance();
    }
    const float scale = gamma[c] * rsqrtf(m.variance() + eps), shift = beta[c] - m.mean * scale;
    for (int r = warp; r < rows; r += Warps)
        y[static_cast<i64>(r) * channels + c] = from_float<T>(kept[r * 32 + lane] * scale + shift);
}

// Adam over a flat arena, four parameters per thread; step and rate come from memory.
extern "C" __global__ void __launch_bounds__(256)
    adam(float* p, float* m, float* v, const float* g, const float* rate, int n) {
    const i64 i = global_thread() * 4;
    if (i + 4 > n) return;
    auto p4 = load<4>(p + i), m4 = load<4>(m + i), v4 = load<4>(v + i);
    const auto g4 = load_once<4>(g + i);
    const float lr = *rate;
    for (int k = 0; k < 4; ++k) {
        m4[k] = 0.9f * m4[k] + 0.1f * g4[k];
        v4[k] = 0.999f * v4[k] + 0.001f * g4[k] * g4[k];
        p4[k] -= lr * m4[k] / (sqrtf(v4[k]) + 1e-8f);
    }
    store(p + i, p4);
    store(m + i, m4);
    store(v + i, v4);
}
