namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// The kernels of the primitives that move or search: simple, right and in a fixed order; macros give the types. STORAGE is that
/// of the tensors (T here: a macro T would break the headers' templates), COMPUTE (ACC) that of sums, BITS an unsigned integer
/// of the same size where values are only moved, INDEX i32 or i64.
/// </summary>
internal static class PrimitiveSource
{
    private const string Start = """
        #include "vector.cuh"
        using namespace gpuengine;
        #ifdef STORAGE
        using T = STORAGE;
        using ACC = COMPUTE;
        #endif
        template <class A, class X>
        DEVICE A widen(X x) { return static_cast<A>(x); }
        template <>
        DEVICE float widen<float, bf16>(bf16 x) { return to_float(x); }
        template <class X>
        struct Narrow {
            template <class A>
            DEVICE static X from(A x) { return static_cast<X>(x); }
        };
        template <>
        struct Narrow<bf16> {
            template <class A>
            DEVICE static bf16 from(A x) { return from_float<bf16>(static_cast<float>(x)); }
        };

        """;

    /// <summary>out[i] = i.</summary>
    public const string Iota = Start + """
        extern "C" __global__ void __launch_bounds__(256) iota(T* out, i64 count) {
            for (i64 i = global_thread(); i < count; i += global_threads()) out[i] = Narrow<T>::from(i);
        }
        """;

    /// <summary>Rows of `width` elements, to and from places `pitch` elements apart.</summary>
    public const string CopyRows = Start + """
        extern "C" __global__ void __launch_bounds__(256) copy_rows(BITS* out, const BITS* in, i64 width, i64 out_pitch, i64 in_pitch, i64 count) {
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const i64 row = i / width, column = i - row * width;
                out[row * out_pitch + column] = in[row * in_pitch + column];
            }
        }
        """;

    /// <summary>
    /// Zeros around and between the elements. Five sizes per axis: output extents, low, step (interior + 1), input extents, input
    /// strides.
    /// </summary>
    public static string Pad(int rank)
    {
        var names = Enumerable.Range(0, 5 * rank).Select(i => $"v{i}").ToArray();
        return Start + $$"""
            extern "C" __global__ void __launch_bounds__(256) pad(BITS* out, const BITS* in, {{string.Join(", ", names.Select(n => "i64 " + n))}}, i64 count) {
                constexpr int kRank = {{rank}};
                const i64 v[] = { {{string.Join(", ", names)}} };
                for (i64 i = global_thread(); i < count; i += global_threads()) {
                    i64 rest = i, from = 0;
                    bool inside = true;
            #pragma unroll
                    for (int axis = kRank - 1; axis >= 0; --axis) {
                        const i64 place = rest % v[axis] - v[kRank + axis], step = v[2 * kRank + axis];
                        rest /= v[axis];
                        const i64 source = place / step;
                        inside = inside && place >= 0 && source * step == place && source < v[3 * kRank + axis];
                        from += source * v[4 * kRank + axis];
                    }
                    out[i] = inside ? in[from] : BITS(0);
                }
            }
            """;
    }

    /// <summary>out[row, j] = in[row, index[row, j]], 0 outside.</summary>
    public const string Gather = Start + """
        extern "C" __global__ void __launch_bounds__(256) gather(BITS* out, const BITS* in, const INDEX* index, i64 width, i64 length, i64 count) {
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const i64 at = index[i];
                out[i] = at >= 0 && at < length ? in[i / width * length + at] : BITS(0);
            }
        }
        """;

    /// <summary>
    /// out[row, index[row, j]] += in[row, j] in ascending j: one block per row; each thread owns the outputs that are its number
    /// modulo the block, and looks at every index.
    /// </summary>
    public const string ScatterAdd = Start + """
        extern "C" __global__ void __launch_bounds__(THREADS) scatter_add(T* out, const T* in, const INDEX* index, i64 rows, i64 width, i64 length) {
            __shared__ INDEX chunk[THREADS];
            for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
                T* const to = out + row * length;
        #if OWNED
                for (i64 i = threadIdx.x; i < length; i += THREADS) to[i] = T(0);
        #else
                for (i64 base = 0; base < length; base += THREADS) {
                ACC sum = 0;
        #endif
                for (i64 start = 0; start < width; start += THREADS) {
                    __syncthreads();
                    if (start + threadIdx.x < width) chunk[threadIdx.x] = index[row * width + start + threadIdx.x];
                    __syncthreads();
                    const int n = width - start < THREADS ? static_cast<int>(width - start) : THREADS;
                    for (int j = 0; j < n; ++j) {
                        const i64 at = chunk[j];
        #if OWNED
                        if (at >= 0 && at < length && at % THREADS == threadIdx.x) to[at] = to[at] + in[row * width + start + j];
        #else
                        if (at == base + threadIdx.x) sum += widen<ACC>(in[row * width + start + j]);
        #endif
                    }
                }
        #if !OWNED
                if (base + threadIdx.x < length) to[base + threadIdx.x] = Narrow<T>::from(sum);
                }
        #endif
            }
        }
        """;

    /// <summary>out[r, :] = table[index[r], :], 0 outside.</summary>
    public const string GatherRows = Start + """
        extern "C" __global__ void __launch_bounds__(256) gather_rows(BITS* out, const BITS* table, const INDEX* index, i64 width, i64 rows, i64 count) {
            for (i64 i = global_thread(); i < count; i += global_threads()) {
                const i64 r = i / width, at = index[r];
                out[i] = at >= 0 && at < rows ? table[at * width + (i - r * width)] : BITS(0);
            }
        }
        """;

    /// <summary>out[index[r], :] += in[r, :] in ascending r: one block per row of the table.</summary>
    public const string ScatterRows = Start + """
        extern "C" __global__ void __launch_bounds__(THREADS) scatter_rows(T* out, const T* in, const INDEX* index, i64 rows, i64 width, i64 count) {
            __shared__ INDEX chunk[THREADS];
            for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
                for (i64 base = 0; base < width; base += THREADS) {
                    const i64 column = base + threadIdx.x;
                    ACC sum = 0;
                    for (i64 start = 0; start < count; start += THREADS) {
                        __syncthreads();
                        if (start + threadIdx.x < count) chunk[threadIdx.x] = index[start + threadIdx.x];
                        __syncthreads();
                        const int n = count - start < THREADS ? static_cast<int>(count - start) : THREADS;
                        for (int j = 0; j < n; ++j) {
                            if (chunk[j] == row && column < width) sum += widen<ACC>(in[(start + j) * width + column]);
                        }
                    }
                    if (column < width) out[row * width + column] = Narrow<T>::from(sum);
                }
            }
        }
        """;

    /// <summary>The index of the first maximum of each row; NaN is larger than everything. One warp per row.</summary>
    public const string ArgMax = Start + """
        DEVICE bool better(ACC a, i32 i, ACC b, i32 j) {
            const bool not_a = a != a, not_b = b != b;
            if (not_a != not_b) return not_a;
            if (!not_a && a != b) return a > b;
            return i < j;
        }
        extern "C" __global__ void __launch_bounds__(256) argmax(i32* out, const T* in, i64 rows, i64 width) {
            const i64 row = static_cast<i64>(blockIdx.x) * 8 + warp_index();
            if (row >= rows) return;
            const T* const x = in + row * width;
            // Lanes beyond the width start with the first element, which never beats itself.
            i32 place = lane_index() < width ? lane_index() : 0;
            ACC best = widen<ACC>(x[place]);
            for (i64 i = place + 32; i < width && lane_index() < width; i += 32) {
                const ACC value = widen<ACC>(x[i]);
                if (better(value, static_cast<i32>(i), best, place)) best = value, place = static_cast<i32>(i);
            }
        #pragma unroll
            for (int step = 16; step > 0; step /= 2) {
                const ACC value = __shfl_xor_sync(kFullMask, best, step);
                const i32 other = __shfl_xor_sync(kFullMask, place, step);
                if (better(value, other, best, place)) best = value, place = other;
            }
            if (lane_index() == 0) out[row] = place;
        }
        """;

    /// <summary>Uniform numbers; one thread per four elements.</summary>
    public const string RandomUniform = "#include \"philox.cuh\"\n" + Start + """
        extern "C" __global__ void __launch_bounds__(256) random_uniform(T* out, const i64* state, i64 stream, i64 count) {
            const u64 seed = static_cast<u64>(state[0]);
            const u32 offset = static_cast<u32>(state[1]);
            for (i64 quad = global_thread(); quad * 4 < count; quad += global_threads()) {
                const Vec<u32, 4> words = random_words(seed, static_cast<u32>(stream), offset, static_cast<u64>(quad));
        #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    if (quad * 4 + j < count) out[quad * 4 + j] = Narrow<T>::from(uniform(words[j]));
                }
            }
        }
        """;
}
