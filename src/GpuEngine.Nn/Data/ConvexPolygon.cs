namespace GpuEngine.Nn.Data;

/// <summary>A point of the plane, in pixels; y points down.</summary>
internal readonly record struct PlanePoint(double X, double Y);

/// <summary>Convex polygons with positive shoelace area, as spans of vertices.</summary>
internal static class ConvexPolygon
{
    /// <summary>The shoelace formula: half the sum of x[i] y[i+1] - x[i+1] y[i].</summary>
    public static double Area(ReadOnlySpan<PlanePoint> polygon)
    {
        if (polygon.Length < 3) return 0;
        double twice = 0;
        var last = polygon[^1];
        foreach (var point in polygon)
        {
            twice += (last.X * point.Y) - (point.X * last.Y);
            last = point;
        }

        return 0.5 * twice;
    }

    /// <summary>
    /// Area of the common part of two polygons: the first is cut by every edge of the second in turn (Sutherland and
    /// Hodgman, "Reentrant polygon clipping", 1974).
    /// </summary>
    public static double CommonArea(ReadOnlySpan<PlanePoint> first, ReadOnlySpan<PlanePoint> second)
    {
        if (!BoxesMeet(first, second)) return 0;

        // Each cut of a convex polygon adds at most one vertex; rounding may bend it by a vertex or two.
        const int Slack = 8;
        Span<PlanePoint> cut = stackalloc PlanePoint[first.Length + second.Length + Slack];
        Span<PlanePoint> next = stackalloc PlanePoint[first.Length + second.Length + Slack];
        first.CopyTo(cut);
        var count = first.Length;
        var from = second[^1];
        foreach (var to in second)
        {
            count = Cut(cut[..count], from, to, next);
            if (count == 0) return 0;
            var swap = cut;
            cut = next;
            next = swap;
            from = to;
        }

        return Area(cut[..count]);
    }

    /// <summary>Lowest and highest coordinates.</summary>
    public static (double Left, double Top, double Right, double Bottom) Box(ReadOnlySpan<PlanePoint> polygon)
    {
        var (left, top, right, bottom) = (polygon[0].X, polygon[0].Y, polygon[0].X, polygon[0].Y);
        foreach (var point in polygon[1..])
        {
            left = Math.Min(left, point.X);
            right = Math.Max(right, point.X);
            top = Math.Min(top, point.Y);
            bottom = Math.Max(bottom, point.Y);
        }

        return (left, top, right, bottom);
    }

    /// <summary>
    /// Keeps what lies on the inner side of the line through two points; returns the number of vertices.
    /// </summary>
    private static int Cut(ReadOnlySpan<PlanePoint> polygon, PlanePoint from, PlanePoint to, Span<PlanePoint> result)
    {
        var (dx, dy) = (to.X - from.X, to.Y - from.Y);
        var count = 0;
        var last = polygon[^1];
        var lastSide = (dx * (last.Y - from.Y)) - (dy * (last.X - from.X));
        foreach (var point in polygon)
        {
            var side = (dx * (point.Y - from.Y)) - (dy * (point.X - from.X));
            if (side < 0 != lastSide < 0)
            {
                var t = lastSide / (lastSide - side);
                result[count++] = new PlanePoint(last.X + (t * (point.X - last.X)), last.Y + (t * (point.Y - last.Y)));
            }

            if (side >= 0) result[count++] = point;
            last = point;
            lastSide = side;
        }

        return count;
    }

    private static bool BoxesMeet(ReadOnlySpan<PlanePoint> first, ReadOnlySpan<PlanePoint> second)
    {
        var a = Box(first);
        var b = Box(second);
        return a.Left < b.Right && b.Left < a.Right && a.Top < b.Bottom && b.Top < a.Bottom;
    }
}
