namespace GpuEngine.Nn.Data;

/// <summary>
/// Draws convex polygons over a square grey image whose pixel (x, y) covers [x, x + 1) x [y, y + 1). Only the rows and
/// columns of the polygon's box are touched, and nothing is allocated.
/// </summary>
internal static class PolygonRasterizer
{
    /// <summary>Largest image side: what fits the stack comfortably.</summary>
    public const int MaxSize = 64;

    /// <summary>
    /// Blends with the exact share of every pixel's area that the polygon covers. Every edge adds, row by row, how much
    /// the area to its right changes from each column to the next; summing a row from the left gives the coverage (the
    /// method of signed area accumulation known from font rasterisers).
    /// </summary>
    public static void DrawSmooth(ReadOnlySpan<PlanePoint> polygon, float grey, Span<float> image, int size)
    {
        var (firstX, firstY, lastX, lastY) = PixelBox(polygon, size);
        var width = lastX - firstX + 3;   // an edge on the right border spills one column over it
        Span<double> steps = stackalloc double[(MaxSize + 2) * MaxSize];
        steps = steps[..(width * (lastY - firstY + 1))];
        steps.Clear();
        var from = polygon[^1];
        foreach (var to in polygon)
        {
            AddEdge(from, to, steps, width, firstX, firstY);
            from = to;
        }

        for (var y = firstY; y <= lastY; y++)
        {
            double coverage = 0;
            var rowSteps = steps.Slice((y - firstY) * width, width);
            var row = image.Slice((y * size) + firstX, lastX - firstX + 1);
            for (var x = 0; x < row.Length; x++)
            {
                coverage += rowSteps[x];
                var share = (float)Math.Clamp(coverage, 0, 1);
                row[x] += share * (grey - row[x]);
            }
        }
    }

    /// <summary>Fills the pixels whose centre lies in the polygon.</summary>
    public static void DrawHard(ReadOnlySpan<PlanePoint> polygon, float grey, Span<float> image, int size)
    {
        var (_, firstY, _, lastY) = PixelBox(polygon, size);
        for (var y = firstY; y <= lastY; y++)
        {
            var middle = y + 0.5;
            var (left, right) = (double.PositiveInfinity, double.NegativeInfinity);
            var from = polygon[^1];
            foreach (var to in polygon)
            {
                if (from.Y <= middle != to.Y <= middle)
                {
                    var x = from.X + ((middle - from.Y) / (to.Y - from.Y) * (to.X - from.X));
                    left = Math.Min(left, x);
                    right = Math.Max(right, x);
                }

                from = to;
            }

            if (left > right) continue;
            var first = Math.Clamp((int)Math.Ceiling(left - 0.5), 0, size);
            var end = Math.Clamp((int)Math.Ceiling(right - 0.5), 0, size);
            if (first < end) image.Slice((y * size) + first, end - first).Fill(grey);
        }
    }

    private static (int FirstX, int FirstY, int LastX, int LastY) PixelBox(ReadOnlySpan<PlanePoint> polygon, int size)
    {
        var (left, top, right, bottom) = ConvexPolygon.Box(polygon);
        return (
            Math.Clamp((int)left, 0, size - 1), Math.Clamp((int)top, 0, size - 1),
            Math.Clamp((int)right, 0, size - 1), Math.Clamp((int)bottom, 0, size - 1));
    }

    private static void AddEdge(
        PlanePoint from, PlanePoint to, Span<double> steps, int width, int firstX, int firstY)
    {
        // Where the area is positive, an edge that goes up the page (falling y) has the inside to its right.
        var sign = 1.0;
        if (from.Y < to.Y)
        {
            sign = -1;
        }
        else
        {
            (from, to) = (to, from);
        }

        if (from.Y == to.Y) return;
        var slope = (to.X - from.X) / (to.Y - from.Y);
        var x = from.X - firstX;
        for (var y = from.Y; y < to.Y;)
        {
            var row = (int)y;
            var nextY = Math.Min(row + 1, to.Y);
            var nextX = nextY == to.Y ? to.X - firstX : from.X - firstX + ((nextY - from.Y) * slope);
            AddSegment(steps.Slice((row - firstY) * width, width), sign * (nextY - y), x, nextX);
            (x, y) = (nextX, nextY);
        }
    }

    /// <summary>One edge within one row: <paramref name="height"/> (signed) of it between two x.</summary>
    private static void AddSegment(Span<double> row, double height, double x0, double x1)
    {
        var (low, high) = x0 < x1 ? (x0, x1) : (x1, x0);
        var first = (int)low;
        if (high <= first + 1)
        {
            var rightShare = first + 1 - (0.5 * (low + high));
            row[first] += height * rightShare;
            row[first + 1] += height * (1 - rightShare);
            return;
        }

        // Column k gets the mean over x of [low, high] of clamp(k + 1 - x, 0, 1). With reach(t) = the integral over x
        // of max(t - x, 0), that is (reach(k + 1) - reach(k)) / (high - low).
        var span = high - low;
        var scale = height / span;
        double reach = 0;
        double before = 0;
        for (var k = first; ; k++)
        {
            var t = k + 1 - low;
            var nextReach = k + 1 < high ? 0.5 * t * t : span * (t - (0.5 * span));
            var share = scale * (nextReach - reach);
            row[k] += share - before;
            if (k + 1 >= high)
            {
                row[k + 1] += height - share;
                return;
            }

            (reach, before) = (nextReach, share);
        }
    }
}
