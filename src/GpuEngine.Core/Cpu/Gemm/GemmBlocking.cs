namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// How a product is cut into blocks. The blocks of k are the only ones that touch the result (each adds its sum to C),
/// so they depend on the problem alone; everything else may depend on the number of workers.
/// </summary>
internal readonly record struct GemmBlocking
{
    private const int MaxDepth = 512;
    private const int BlockABytes = 512 * 1024;
    private const int MaxColumns = 4096;

    /// <summary>Elements in a register; a panel of B is two registers wide.</summary>
    public required int Width { get; init; }

    /// <summary>Depth of a block of k: deep enough that reading and writing C costs little.</summary>
    public required int Depth { get; init; }

    /// <summary>Rows of a block of A: packed, it stays in the second-level cache.</summary>
    public required int Rows { get; init; }

    /// <summary>Columns of a block of B: packed, it stays in the last-level cache.</summary>
    public required int Columns { get; init; }

    public required bool PackA { get; init; }

    public required bool PackB { get; init; }

    public int PanelWidth => 2 * Width;

    /// <summary>
    /// Blocks for caches of 48 KiB, 1 MiB and a share of the last level; other caches cost a few per cent.
    /// </summary>
    /// <param name="problem">Sizes and strides, written out.</param>
    /// <param name="tileRows">Rows of the largest tile.</param>
    /// <param name="width">Elements in a register.</param>
    /// <param name="elementBytes">4 or 8.</param>
    /// <param name="mustPackA">Whether A cannot be read in place.</param>
    /// <param name="mustPackB">Whether B cannot be read in place.</param>
    public static GemmBlocking Choose(
        GemmProblem problem, int tileRows, int width, int elementBytes, bool mustPackA, bool mustPackB)
    {
        var depth = Balanced(problem.K, MaxDepth, 4);
        return new GemmBlocking
        {
            Width = width,
            Depth = depth,
            Rows = Balanced(problem.M, Math.Max(tileRows, BlockABytes / elementBytes / depth), 1),
            Columns = Balanced(problem.N, MaxColumns, 2 * width),
            PackA = mustPackA || PaysA(problem, width, elementBytes),
            PackB = mustPackB || problem.TransB || PaysB(problem, tileRows, elementBytes),
        };
    }

    /// <summary>Packing A pays when many panels of B reuse it and reading it in place would miss the caches.</summary>
    private static bool PaysA(GemmProblem problem, int width, int elementBytes)
    {
        if (problem.N <= 4 * 2 * width) return false;
        var bytes = (long)problem.M * problem.K * elementBytes;
        // Rows a multiple of 4 KiB apart fall into one set of the first-level cache and push each other out.
        var collide = problem.Lda * elementBytes % 4096 == 0;
        return bytes > (collide ? 128 * 1024 : 1024 * 1024);
    }

    /// <summary>
    /// Packing B pays when several tiles of rows reuse it and it does not fit the second-level cache anyway.
    /// </summary>
    private static bool PaysB(GemmProblem problem, int tileRows, int elementBytes) =>
        problem.M > 2 * tileRows && (long)problem.K * problem.N * elementBytes > 512 * 1024;

    /// <summary>Cuts a size into equal blocks of at most <paramref name="most"/>, rounded up to a multiple.</summary>
    private static int Balanced(int size, int most, int multiple)
    {
        if (size <= most) return Math.Max(1, size);
        var blocks = (size + most - 1) / most;
        var block = (size + blocks - 1) / blocks;
        return (block + multiple - 1) / multiple * multiple;
    }
}
