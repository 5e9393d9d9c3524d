using System.Text;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Writes the reduction kernel for given numbers of kept and reduced axes. Macros: STORAGE, COMPUTE, OUT, SUM (1: sum, 0: max), EMPTY;
/// for rows also GROUP, the threads per output: 32 or 256.
/// </summary>
internal static class ReduceSource
{
    public const int LayoutWords = 40;

    private const string Header = """
        // Generated: sum or maximum over some axes, in an order fixed by the shape.
        #include "reduce.cuh"
        #include "float_types.cuh"
        using namespace gpuengine;
        using T = STORAGE;
        using ACC = COMPUTE;
        DEVICE ACC combine(ACC a, ACC b) {
        #if SUM
            return static_cast<ACC>(a + b);
        #else
            return a != a ? a : b != b ? b : a > b ? a : b;
        #endif
        }
        struct Combine {
            DEVICE ACC operator()(ACC a, ACC b) const { return combine(a, b); }
        };
        template <class X>
        DEVICE ACC widen(X x) { return static_cast<ACC>(x); }
        template <>
        DEVICE ACC widen<bf16>(bf16 x) { return static_cast<ACC>(to_float(x)); }
        template <class X>
        struct Narrow {
            DEVICE static X from(ACC x) { return static_cast<X>(x); }
        };
        template <>
        struct Narrow<bf16> {
            DEVICE static bf16 from(ACC x) { return from_float<bf16>(static_cast<float>(x)); }
        };

        """;

    /// <summary>Neighbouring threads read along a reduced axis: one warp or one block per output.</summary>
    private const string Rows = """
        extern "C" __global__ void __launch_bounds__(256) reduce_rows(
            OUT* out, const T* in, const Layout layout, i64 outputs, i64 count, i64 piece, i64 pieces) {
            constexpr int kGroups = 256 / GROUP;
            const int lane = threadIdx.x % GROUP;
            // Every thread of a block makes the same number of rounds, because the block reduction has barriers.
            for (i64 first = static_cast<i64>(blockIdx.x) * kGroups; first < outputs * pieces; first += static_cast<i64>(gridDim.x) * kGroups) {
                const i64 item = first + threadIdx.x / GROUP;
                ACC value = EMPTY;
                if (item < outputs * pieces) {
                    const T* const from = in + kept_offset(item / pieces, layout);
                    const i64 start = item % pieces * piece;
                    const i64 end = start + piece < count ? start + piece : count;
                    for (i64 r = start + lane; r < end; r += GROUP) value = combine(value, widen(from[reduced_offset(r, layout)]));
                }
        #if GROUP == 32
                value = warp_reduce(value, Combine());
        #else
                value = block_reduce(value, Combine(), static_cast<ACC>(EMPTY));
        #endif
                if (lane == 0 && item < outputs * pieces) out[item] = Narrow<OUT>::from(value);
            }
        }

        """;

    /// <summary>Neighbouring threads read along a kept axis: 32 outputs per block, 8 threads share one.</summary>
    private const string Columns = """
        extern "C" __global__ void __launch_bounds__(256) reduce_columns(
            OUT* out, const T* in, const Layout layout, i64 outputs, i64 count, i64 piece, i64 pieces) {
            __shared__ ACC partial[8][33];
            const i64 output = static_cast<i64>(blockIdx.x) * 32 + threadIdx.x;
            const i64 start = static_cast<i64>(blockIdx.y) * piece;
            const i64 end = start + piece < count ? start + piece : count;
            ACC value = EMPTY;
            if (output < outputs) {
                const T* const from = in + kept_offset(output, layout);
                for (i64 r = start + threadIdx.y; r < end; r += 8) value = combine(value, widen(from[reduced_offset(r, layout)]));
            }
            partial[threadIdx.y][threadIdx.x] = value;
            __syncthreads();
            if (threadIdx.y == 0 && output < outputs) {
                for (int y = 1; y < 8; ++y) value = combine(value, partial[y][threadIdx.x]);
                out[blockIdx.y * outputs + output] = Narrow<OUT>::from(value);
            }
        }

        """;

    public static string Write(bool rows, int keptRank, int reducedRank, bool wideIndex)
    {
        var text = new StringBuilder(Header);
        text.Append($"struct Layout {{ i64 v[{LayoutWords}]; }};\n");
        Offset(text, "kept_offset", keptRank, 0, wideIndex);
        Offset(text, "reduced_offset", reducedRank, 2 * keptRank, wideIndex);
        return text.Append(rows ? Rows : Columns).ToString();
    }

    private static void Offset(StringBuilder text, string name, int rank, int start, bool wideIndex)
    {
        var index = wideIndex ? "i64" : "u32";
        text.Append($"DEVICE i64 {name}(i64 i, const Layout& layout) {{\n    {index} rest = static_cast<{index}>(i), offset = 0;\n");
        for (var axis = rank - 1; axis >= 0; axis--)
        {
            var (extent, stride) = ($"static_cast<{index}>(layout.v[{start + axis}])", $"static_cast<{index}>(layout.v[{start + rank + axis}])");
            if (axis > 0) text.Append($"    offset += rest % {extent} * {stride};\n    rest /= {extent};\n");
            else text.Append($"    offset += rest * {stride};\n");
        }

        text.Append("    return offset;\n}\n");
    }
}
