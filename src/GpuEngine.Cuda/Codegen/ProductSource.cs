namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Matrix products without a library: simple kernels that are right everywhere. Macros: STORAGE, COMPUTE, TRANSPOSE_A, TRANSPOSE_B, BIAS.
/// </summary>
internal static class ProductSource
{
    private const string Start = """
        #include "reduce.cuh"
        #include "float_types.cuh"
        using namespace gpuengine;
        using T = STORAGE;
        using ACC = COMPUTE;

        """;

    /// <summary>One output per thread, 16 x 16 tiles through shared memory, the sum in ascending k.</summary>
    public const string MatMul = Start + """
        extern "C" __global__ void __launch_bounds__(256) matmul(T* c, const T* a, const T* b,
        #if BIAS
            const T* bias,
        #endif
            i64 m, i64 n, i64 k, i64 batch) {
            __shared__ ACC tile_a[16][17], tile_b[16][17];
            const int x = threadIdx.x, y = threadIdx.y;
            const i64 row = static_cast<i64>(blockIdx.x) * 16 + y, column = static_cast<i64>(blockIdx.y) * 16 + x;
            for (i64 z = blockIdx.z; z < batch; z += gridDim.z) {
                const T* const from_a = a + z * m * k;
                const T* const from_b = b + z * k * n;
                ACC sum = 0;
                for (i64 start = 0; start < k; start += 16) {
        #if TRANSPOSE_A
                    const i64 ak = start + y, ar = static_cast<i64>(blockIdx.x) * 16 + x;
                    tile_a[x][y] = ak < k && ar < m ? to_accumulator(from_a[ak * m + ar]) : ACC(0);
        #else
                    tile_a[y][x] = row < m && start + x < k ? to_accumulator(from_a[row * k + start + x]) : ACC(0);
        #endif
        #if TRANSPOSE_B
                    const i64 bc = static_cast<i64>(blockIdx.y) * 16 + y;
                    tile_b[x][y] = bc < n && start + x < k ? to_accumulator(from_b[bc * k + start + x]) : ACC(0);
        #else
                    tile_b[y][x] = start + y < k && column < n ? to_accumulator(from_b[(start + y) * n + column]) : ACC(0);
        #endif
                    __syncthreads();
        #pragma unroll
                    for (int j = 0; j < 16; ++j) sum += tile_a[y][j] * tile_b[j][x];
                    __syncthreads();
                }
                if (row < m && column < n) {
        #if BIAS
                    sum += to_accumulator(bias[column]);
        #endif
                    c[z * m * n + row * n + column] = from_accumulator<T>(sum);
                }
            }
        }
        """;

    /// <summary>
    /// What comes behind a product where no library's epilogue does it: y[m, n] + bias[n] + residual[m, n], then relu, in place.
    /// Macros BIAS, RESIDUAL and RELU.
    /// </summary>
    public const string Epilogue = Start + """
        extern "C" __global__ void __launch_bounds__(256) epilogue(T* y, const T* bias, const T* residual, i64 n, i64 count) {
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                ACC v = to_accumulator(y[i]);
        #if BIAS
                v += to_accumulator(bias[i % n]);
        #endif
        #if RESIDUAL
                v += to_accumulator(residual[i]);
        #endif
        #if RELU
                v = v <= ACC(0) ? ACC(0) : v;
        #endif
                y[i] = from_accumulator<T>(v);
            }
        }
        """;
}
