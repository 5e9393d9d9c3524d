namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// The workers laid out over the rows and columns of C. Each owns a fixed rectangle; nobody shares a sum.
/// </summary>
internal readonly record struct WorkerGrid(int Down, int Across)
{
    public int Workers => Down * Across;

    /// <summary>The layout whose largest rectangle takes the least time.</summary>
    public static WorkerGrid Choose(int workers, GemmProblem problem, GemmBlocking blocking)
    {
        var best = new WorkerGrid(1, 1);
        var bestCost = double.MaxValue;
        for (var used = workers; used >= 1; used--)
        {
            for (var down = 1; down <= used; down++)
            {
                if (used % down != 0) continue;
                var across = used / down;
                var rows = Math.Ceiling((double)problem.M / down);
                var panels = Math.Ceiling(Math.Ceiling((double)problem.N / blocking.PanelWidth) / across);
                var columns = Math.Min(problem.N, panels * blocking.PanelWidth);
                // Workers side by side pack the same rows of A, and moving an element costs about as much as 16
                // multiply-adds.
                var cost = (rows * columns) + (blocking.PackA ? 16 * rows : 0);
                if (cost >= bestCost) continue;
                best = new WorkerGrid(down, across);
                bestCost = cost;
            }
        }
        return best;
    }

    /// <summary>The part of [0, size) that belongs to <paramref name="index"/> of <paramref name="parts"/>.</summary>
    public static (int Start, int End) Part(int size, int index, int parts) =>
        ((int)((long)size * index / parts), (int)((long)size * (index + 1) / parts));
}
