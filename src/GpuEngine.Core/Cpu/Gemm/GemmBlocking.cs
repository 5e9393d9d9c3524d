namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// How a product is cut into blocks. The blocks of k are the only ones that touch the result (each adds its sum to C), so
/// they depend on the problem alone; everything else may depend on the number of workers.
/// </summary>
internal readonly record struct GemmBlocking
{
    /// <summary>Rows of the largest tile.</summary>
    public required int TileRows { get; init; }

    /// <summary>Elements in a register; a panel of B is two registers wide.</summary>
    public required int Width { get; init; }

    /// <summary>Depth of a block of k: a panel of B this deep stays in the first-level cache.</summary>
    public required int Depth { get; init; }

    /// <summary>Rows of a block of A: packed, it stays in the second-level cache.</summary>
    public required int Rows { get; init; }

    /// <summary>Columns of a block of B: packed, it stays in the last-level cache.</summary>
    public required int Columns { get; init; }

    public required bool PackA { get; init; }

    public required bool PackB { get; init; }

    public int PanelWidth => 2 * Width;

    public static GemmBlocking Choose(GemmProblem problem, int tileRows, int width, int elementBytes, bool mustPackA, bool mustPackB)
    {
        // Sizes in elements for 48 KiB / 1 MiB / a share of the last level; a smaller cache costs a few per cent.
        var maxDepth = 1536 / elementBytes;
        var maxBlockA = 512 * 1024 / elementBytes;
        var depth = Balanced(problem.K, maxDepth, 4);
        var rows = Balanced(problem.M, Math.Max(tileRows, maxBlockA / Math.Max(1, depth)), 1);
        var columns = Balanced(problem.N, 4096, 2 * width);
        var bytesA = (long)problem.M * problem.K * elementBytes;
        var bytesB = (long)problem.K * problem.N * elementBytes;
        var few = 2 * tileRows;
        return new GemmBlocking
        {
            TileRows = tileRows,
            Width = width,
            Depth = depth,
            Rows = rows,
            Columns = columns,
            PackA = problem.K > 0 && (mustPackA || (problem.N > 4 * 2 * width && bytesA > 96 * 1024)),
            PackB = problem.K > 0
                && (mustPackB || problem.TransB || (problem.M > few && bytesB > 128 * 1024)),
        };
    }

    /// <summary>Cuts a size into equal blocks of at most <paramref name="most"/>, rounded up to a multiple.</summary>
    private static int Balanced(int size, int most, int multiple)
    {
        if (size <= most) return Math.Max(1, size);
        var blocks = (size + most - 1) / most;
        var block = (size + blocks - 1) / blocks;
        return (block + multiple - 1) / multiple * multiple;
    }
}
