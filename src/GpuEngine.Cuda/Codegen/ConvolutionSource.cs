namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// The three convolutions without a library: simple kernels that are right everywhere. Macros: STORAGE, COMPUTE, and CHANNELS_LAST for
/// [N, H, W, C] with weights [K, R, S, C/groups].
/// </summary>
internal static class ConvolutionSource
{
    private const string Start = """
        #include "reduce.cuh"
        #include "float_types.cuh"
        using namespace gpuengine;
        using T = STORAGE;
        using ACC = COMPUTE;

        // The places of an element in a tensor of images and in one of filters.
        struct Place { i64 n; i32 c, y, x; };

        DEVICE i64 at(i64 n, i32 c, i32 y, i32 x, i32 channels, i32 height, i32 width) {
            return CHANNELS_LAST ? ((n * height + y) * width + x) * channels + c : ((n * channels + c) * height + y) * width + x;
        }

        DEVICE Place place(i64 i, i32 channels, i32 height, i32 width) {
            Place p;
            if (CHANNELS_LAST) { p.c = static_cast<i32>(i % channels); i /= channels; }
            p.x = static_cast<i32>(i % width); i /= width;
            p.y = static_cast<i32>(i % height); i /= height;
            if (!CHANNELS_LAST) { p.c = static_cast<i32>(i % channels); i /= channels; }
            p.n = i;
            return p;
        }

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
    public const string Forward = Start + """
        extern "C" __global__ void __launch_bounds__(256) convolution(T* y, const T* x, const T* weight, SIZES, i64 count) {
            const Geometry g = GEOMETRY;
            const i32 cg = g.c / g.groups, kg = g.k / g.groups;
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const Place o = place(i, g.k, g.p, g.q);
                ACC sum = 0;
                for (i32 c = 0; c < cg; ++c) {
                    for (i32 r = 0; r < g.r; ++r) {
                        const i32 row = o.y * g.stride_h - g.pad_h + r * g.dilation_h;
                        if (row < 0 || row >= g.h) continue;
                        for (i32 s = 0; s < g.s; ++s) {
                            const i32 column = o.x * g.stride_w - g.pad_w + s * g.dilation_w;
                            if (column < 0 || column >= g.w) continue;
                            sum += to_accumulator(x[at(o.n, o.c / kg * cg + c, row, column, g.c, g.h, g.w)]) *
                                   to_accumulator(weight[at(o.c, c, r, s, cg, g.r, g.s)]);
                        }
                    }
                }
                y[i] = from_accumulator<T>(sum);
            }
        }
        """;

    /// <summary>y = relu(y + bias + residual), in place; what an option is not set for stays out.</summary>
    public const string Epilogue = Start + """
        extern "C" __global__ void __launch_bounds__(256) convolution_epilogue(T* y, const T* bias, const T* residual, i64 filters, i64 plane, i64 count) {
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                ACC v = to_accumulator(y[i]) + to_accumulator(bias[i / plane % filters]);
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

    /// <summary>dx[n, c, h, w]: one thread per element.</summary>
    public const string Input = Start + """
        extern "C" __global__ void __launch_bounds__(256) convolution_input(T* dx, const T* dy, const T* weight, SIZES, i64 count) {
            const Geometry g = GEOMETRY;
            const i32 cg = g.c / g.groups, kg = g.k / g.groups;
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const Place o = place(i, g.c, g.h, g.w);
                ACC sum = 0;
                for (i32 j = 0; j < kg; ++j) {
                    const i32 k = o.c / cg * kg + j;
                    for (i32 r = 0; r < g.r; ++r) {
                        const i32 row = o.y + g.pad_h - r * g.dilation_h, p = row / g.stride_h;
                        if (row < 0 || p * g.stride_h != row || p >= g.p) continue;
                        for (i32 s = 0; s < g.s; ++s) {
                            const i32 column = o.x + g.pad_w - s * g.dilation_w, q = column / g.stride_w;
                            if (column < 0 || q * g.stride_w != column || q >= g.q) continue;
                            sum += to_accumulator(dy[at(o.n, k, p, q, g.k, g.p, g.q)]) * to_accumulator(weight[at(k, o.c % cg, r, s, cg, g.r, g.s)]);
                        }
                    }
                }
                dx[i] = from_accumulator<T>(sum);
            }
        }
        """;

    /// <summary>dw[k, c, r, s]: one block per element, the block's sum in a fixed order.</summary>
    public const string Weight = Start + """
        extern "C" __global__ void __launch_bounds__(128) convolution_weight(T* dw, const T* dy, const T* x, SIZES, i64 count) {
            const Geometry g = GEOMETRY;
            const i32 cg = g.c / g.groups, kg = g.k / g.groups;
            for (i64 i = blockIdx.x; i < count; i += gridDim.x) {
                const Place o = place(i, cg, g.r, g.s);
                const i32 k = static_cast<i32>(o.n);
                ACC sum = 0;
                const i64 places = static_cast<i64>(g.n) * g.p * g.q;
                for (i64 j = threadIdx.x; j < places; j += 128) {
                    const i32 q = static_cast<i32>(j % g.q), p = static_cast<i32>(j / g.q % g.p);
                    const i64 n = j / g.q / g.p;
                    const i32 row = p * g.stride_h - g.pad_h + o.y * g.dilation_h;
                    const i32 column = q * g.stride_w - g.pad_w + o.x * g.dilation_w;
                    if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
                    sum += to_accumulator(dy[at(n, k, p, q, g.k, g.p, g.q)]) *
                           to_accumulator(x[at(n, k / kg * cg + o.c, row, column, g.c, g.h, g.w)]);
                }
                sum = block_sum(sum);
                if (threadIdx.x == 0) dw[i] = from_accumulator<T>(sum);
            }
        }
        """;
}
