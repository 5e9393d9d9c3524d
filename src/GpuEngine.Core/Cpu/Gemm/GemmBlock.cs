namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>The block of B that is being multiplied: a range of columns at a range of depths of one product.</summary>
internal record struct GemmBlock(int Batch, int Column, int Columns, int K, int Depth)
{
    /// <summary>The first block of a product.</summary>
    public static GemmBlock First(int batch, GemmProblem problem, GemmBlocking blocking) => new(
        batch, 0, Math.Min(blocking.Columns, problem.N), 0, Math.Min(blocking.Depth, problem.K));

    /// <summary>Steps through all depths, then to the next columns; false behind the last block.</summary>
    public bool Next(GemmProblem problem, GemmBlocking blocking)
    {
        K += Depth;
        if (K >= problem.K)
        {
            K = 0;
            Column += Columns;
            if (Column >= problem.N) return false;
            Columns = Math.Min(blocking.Columns, problem.N - Column);
        }
        Depth = Math.Min(blocking.Depth, problem.K - K);
        return true;
    }
}
