namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Matrix products and convolutions without a library: simple kernels that are right everywhere. Macros: STORAGE, COMPUTE, and for the
/// product TRANSPOSE_A, TRANSPOSE_B, BIAS.
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

    private const string Geometry = """
        struct Geometry {
            i32 n, c, h, w, k, r, s, p, q, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
        };
        #define SIZES i64 n_, i64 c_, i64 h_, i64 w_, i64 k_, i64 r_, i64 s_, i64 p_, i64 q_, i64 stride_h, i64 stride_w, \
            i64 pad_h, i64 pad_w, i64 dilation_h, i64 dilation_w, i64 groups
        #define I(x) static_cast<i32>(x)
        #define GEOMETRY {I(n_), I(c_), I(h_), I(w_), I(k_), I(r_), I(s_), I(p_), I(q_), I(stride_h), I(stride_w), \
            I(pad_h), I(pad_w), I(dilation_h), I(dilation_w), I(groups)}

        """;

    /// <summary>y[n, k, p, q]: one thread per element.</summary>
    public const string Convolution = Start + Geometry + """
        extern "C" __global__ void __launch_bounds__(256) convolution(T* y, const T* x, const T* weight, SIZES, i64 count) {
            const Geometry g = GEOMETRY;
            const i32 cg = g.c / g.groups, kg = g.k / g.groups;
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const i32 q = static_cast<i32>(i % g.q), p = static_cast<i32>(i / g.q % g.p);
                const i32 k = static_cast<i32>(i / g.q / g.p % g.k);
                const i64 n = i / g.q / g.p / g.k;
                ACC sum = 0;
                for (i32 c = 0; c < cg; ++c) {
                    const T* const plane = x + ((n * g.groups + k / kg) * cg + c) * g.h * g.w;
                    const T* const filter = weight + (static_cast<i64>(k) * cg + c) * g.r * g.s;
                    for (i32 r = 0; r < g.r; ++r) {
                        const i32 row = p * g.stride_h - g.pad_h + r * g.dilation_h;
                        if (row < 0 || row >= g.h) continue;
                        for (i32 s = 0; s < g.s; ++s) {
                            const i32 column = q * g.stride_w - g.pad_w + s * g.dilation_w;
                            if (column < 0 || column >= g.w) continue;
                            sum += to_accumulator(plane[row * g.w + column]) * to_accumulator(filter[r * g.s + s]);
                        }
                    }
                }
                y[i] = from_accumulator<T>(sum);
            }
        }
        """;

    /// <summary>dx[n, c, h, w]: one thread per element.</summary>
    public const string ConvolutionInput = Start + Geometry + """
        extern "C" __global__ void __launch_bounds__(256) convolution_input(T* dx, const T* dy, const T* weight, SIZES, i64 count) {
            const Geometry g = GEOMETRY;
            const i32 cg = g.c / g.groups, kg = g.k / g.groups;
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const i32 w = static_cast<i32>(i % g.w), h = static_cast<i32>(i / g.w % g.h);
                const i32 c = static_cast<i32>(i / g.w / g.h % g.c);
                const i64 n = i / g.w / g.h / g.c;
                const i32 group = c / cg;
                ACC sum = 0;
                for (i32 j = 0; j < kg; ++j) {
                    const i64 k = static_cast<i64>(group) * kg + j;
                    const T* const plane = dy + (n * g.k + k) * g.p * g.q;
                    const T* const filter = weight + (k * cg + c % cg) * g.r * g.s;
                    for (i32 r = 0; r < g.r; ++r) {
                        const i32 row = h + g.pad_h - r * g.dilation_h, p = row / g.stride_h;
                        if (row < 0 || p * g.stride_h != row || p >= g.p) continue;
                        for (i32 s = 0; s < g.s; ++s) {
                            const i32 column = w + g.pad_w - s * g.dilation_w, q = column / g.stride_w;
                            if (column < 0 || q * g.stride_w != column || q >= g.q) continue;
                            sum += to_accumulator(plane[p * g.q + q]) * to_accumulator(filter[r * g.s + s]);
                        }
                    }
                }
                dx[i] = from_accumulator<T>(sum);
            }
        }
        """;

    /// <summary>dw[k, c, r, s]: one block per element, the block's sum in a fixed order.</summary>
    public const string ConvolutionWeight = Start + Geometry + """
        extern "C" __global__ void __launch_bounds__(128) convolution_weight(T* dw, const T* dy, const T* x, SIZES, i64 count) {
            const Geometry g = GEOMETRY;
            const i32 cg = g.c / g.groups, kg = g.k / g.groups;
            for (i64 i = blockIdx.x; i < count; i += gridDim.x) {
                const i32 s = static_cast<i32>(i % g.s), r = static_cast<i32>(i / g.s % g.r);
                const i32 c = static_cast<i32>(i / g.s / g.r % cg), k = static_cast<i32>(i / g.s / g.r / cg);
                ACC sum = 0;
                const i64 places = static_cast<i64>(g.n) * g.p * g.q;
                for (i64 j = threadIdx.x; j < places; j += 128) {
                    const i32 q = static_cast<i32>(j % g.q), p = static_cast<i32>(j / g.q % g.p);
                    const i64 n = j / g.q / g.p;
                    const i32 row = p * g.stride_h - g.pad_h + r * g.dilation_h;
                    const i32 column = q * g.stride_w - g.pad_w + s * g.dilation_w;
                    if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
                    sum += to_accumulator(dy[((n * g.k + k) * g.p + p) * g.q + q]) *
                           to_accumulator(x[((n * g.groups + k / kg) * cg + c) * g.h * g.w + static_cast<i64>(row) * g.w + column]);
                }
                sum = block_sum(sum);
                if (threadIdx.x == 0) dw[i] = from_accumulator<T>(sum);
            }
        }
        """;
}
