using GpuEngine.Core.Random;

namespace GpuEngine.Nn.Data;

/// <summary>Which of the disjoint streams of generated examples.</summary>
public enum DataSplit
{
    Train,
    Validation,
    Test,
}

/// <summary>
/// Shapeset-3x2 (Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
/// 2010, section 2.1): an endless stream of 32x32 grey images with one or two objects out of triangle, parallelogram
/// and ellipse; the class says which objects are there, whatever their order: 3 singles and 6 pairs. Image i is a
/// function of (seed, split, i).
/// <para>
/// As in the paper: random shape parameters (relative lengths and angles), scale, rotation, translation and grey level;
/// in a pair, the second object, drawn over the first, covers at most half of it (nor is more than half of the second
/// on the first). Where the paper gives no figure we take: classes equally likely; the square root of the area uniform
/// in [6, 12) pixels for every kind, so that size tells nothing; side ratios in [0.6, 1) and angles in [40, 100)
/// degrees for triangles, [0.5, 1) and [45, 135) for parallelograms, axis ratios in [0.5, 1) for ellipses; objects lie
/// whole in the image; grey levels in [0.25, 1) on black, two objects at least 1/8 apart.
/// </para>
/// </summary>
public sealed class ShapesetExamples : IExampleSource
{
    /// <summary>Height and width in pixels.</summary>
    public const int Size = 32;

    internal const double MinExtent = 6;
    internal const double MaxExtent = 12;
    internal const float MinGrey = 0.25f;
    internal const float MinContrast = 0.125f;

    // Mean and standard deviation of the grey levels over 100,000 images, anti-aliased, to three digits.
    internal const float Mean = 0.082f;
    internal const float Deviation = 0.216f;

    /// <summary>
    /// An image uses a few dozen words; the room lets rejected placements never reach the next image's.
    /// </summary>
    private const long WordsPerImage = 4096;

    /// <summary>
    /// An ellipse is a polygon of so many vertices and of the same area: off by less than 0.04 pixels.
    /// </summary>
    private const int EllipseVertices = 32;

    private static readonly PlanePoint[] Circle = UnitAreaCircle();

    private readonly ulong _seed;
    private readonly uint _stream;
    private readonly bool _smooth;

    /// <param name="seed">Another seed gives other images.</param>
    /// <param name="split">The splits never share an image.</param>
    /// <param name="smooth">True blends edges by exact coverage; false fills pixels whose centre is inside.</param>
    /// <param name="count">Images per epoch.</param>
    /// <param name="endless">False repeats the first <paramref name="count"/> images instead.</param>
    public ShapesetExamples(ulong seed, DataSplit split, bool smooth, long count, bool endless)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        (_seed, _smooth, Count, IsEndless) = (seed, smooth, count, endless);
        _stream = split switch
        {
            DataSplit.Train => DataStream.ShapesetTrain,
            DataSplit.Validation => DataStream.ShapesetValidation,
            DataSplit.Test => DataStream.ShapesetTest,
            _ => throw new ArgumentOutOfRangeException(nameof(split)),
        };
    }

    /// <summary>Class names by label.</summary>
    public static IReadOnlyList<string> ClassNames { get; } =
    [
        "triangle", "parallelogram", "ellipse",
        "triangle + triangle", "triangle + parallelogram", "triangle + ellipse",
        "parallelogram + parallelogram", "parallelogram + ellipse", "ellipse + ellipse",
    ];

    public ExampleShape Shape => new(1, Size, Size);

    public int ClassCount => ClassNames.Count;

    public long Count { get; }

    public bool IsEndless { get; }

    public void Read(long index, Span<float> input, out int label)
    {
        Draw(index, input, out label);
        for (var i = 0; i < input.Length; i++) input[i] = (input[i] - Mean) * (1 / Deviation);
    }

    /// <summary>The image in grey levels 0 (black) to 1, before standardisation.</summary>
    /// <param name="index">Number of the image from 0.</param>
    /// <param name="image">Size x Size floats.</param>
    /// <param name="label">The class.</param>
    public void Draw(long index, Span<float> image, out int label)
    {
        Span<PlanePoint> firstRoom = stackalloc PlanePoint[EllipseVertices];
        Span<PlanePoint> secondRoom = stackalloc PlanePoint[EllipseVertices];
        var scene = Arrange(index, firstRoom, secondRoom);
        label = scene.Label;
        image.Clear();
        DrawObject(firstRoom[..scene.FirstCount], scene.FirstGrey, image);
        if (scene.SecondCount > 0) DrawObject(secondRoom[..scene.SecondCount], scene.SecondGrey, image);
    }

    /// <summary>
    /// What image <paramref name="index"/> shows: the vertices of one or two objects and their grey levels.
    /// </summary>
    internal Scene Arrange(long index, Span<PlanePoint> first, Span<PlanePoint> second)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        if (!IsEndless) ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
        var random = new PhiloxSequence(_seed, _stream, offset: 0, index * WordsPerImage);
        var label = (int)random.NextBelow((uint)ClassNames.Count);
        var firstGrey = random.NextUniform(MinGrey, 1);
        if (label < 3) return new Scene(label, Place(label, ref random, first), firstGrey, 0, 0);

        var (below, above) = label switch
        {
            3 => (0, 0),
            4 => (0, 1),
            5 => (0, 2),
            6 => (1, 1),
            7 => (1, 2),
            _ => (2, 2),
        };
        if (random.NextBelow(2) == 1) (below, above) = (above, below);
        var secondGrey = random.NextUniform(MinGrey, 1);
        while (Math.Abs(secondGrey - firstGrey) < MinContrast) secondGrey = random.NextUniform(MinGrey, 1);
        while (true)
        {
            var firstCount = Place(below, ref random, first);
            var secondCount = Place(above, ref random, second);
            var a = first[..firstCount];
            var b = second[..secondCount];
            if (ConvexPolygon.CommonArea(a, b) <= 0.5 * Math.Min(ConvexPolygon.Area(a), ConvexPolygon.Area(b)))
                return new Scene(label, firstCount, firstGrey, secondCount, secondGrey);
        }
    }

    /// <summary>A random object of a kind, somewhere in the image; returns its number of vertices.</summary>
    private static int Place(int kind, ref PhiloxSequence random, Span<PlanePoint> vertices)
    {
        var ratio = (double)random.NextUniform();
        var angle = (double)random.NextUniform();
        var count = kind switch
        {
            0 => Triangle(0.6 + (0.4 * ratio), double.DegreesToRadians(40 + (60 * angle)), vertices),
            1 => Parallelogram(0.5 + (0.5 * ratio), double.DegreesToRadians(45 + (90 * angle)), vertices),
            _ => Ellipse(0.5 + (0.5 * ratio), vertices),
        };
        var extent = MinExtent + ((MaxExtent - MinExtent) * random.NextUniform());
        var scale = extent / Math.Sqrt(ConvexPolygon.Area(vertices[..count]));
        var (sin, cos) = Math.SinCos(2 * Math.PI * random.NextUniform());
        for (var i = 0; i < count; i++)
        {
            var (x, y) = (scale * vertices[i].X, scale * vertices[i].Y);
            vertices[i] = new PlanePoint((cos * x) - (sin * y), (sin * x) + (cos * y));
        }

        var (left, top, right, bottom) = ConvexPolygon.Box(vertices[..count]);
        var dx = ((Size - (right - left)) * random.NextUniform()) - left;
        var dy = ((Size - (bottom - top)) * random.NextUniform()) - top;
        for (var i = 0; i < count; i++) vertices[i] = new PlanePoint(vertices[i].X + dx, vertices[i].Y + dy);
        return count;
    }

    /// <summary>Two sides 1 and <paramref name="ratio"/> from one corner, at an angle.</summary>
    private static int Triangle(double ratio, double angle, Span<PlanePoint> vertices)
    {
        var (sin, cos) = Math.SinCos(angle);
        vertices[0] = new PlanePoint(0, 0);
        vertices[1] = new PlanePoint(1, 0);
        vertices[2] = new PlanePoint(ratio * cos, ratio * sin);
        return 3;
    }

    private static int Parallelogram(double ratio, double angle, Span<PlanePoint> vertices)
    {
        var (sin, cos) = Math.SinCos(angle);
        vertices[0] = new PlanePoint(0, 0);
        vertices[1] = new PlanePoint(1, 0);
        vertices[2] = new PlanePoint(1 + (ratio * cos), ratio * sin);
        vertices[3] = new PlanePoint(ratio * cos, ratio * sin);
        return 4;
    }

    private static int Ellipse(double ratio, Span<PlanePoint> vertices)
    {
        for (var i = 0; i < EllipseVertices; i++) vertices[i] = new PlanePoint(Circle[i].X, ratio * Circle[i].Y);
        return EllipseVertices;
    }

    private static PlanePoint[] UnitAreaCircle()
    {
        // A regular n-gon of radius r has area n r^2 sin(2 pi / n) / 2.
        var radius = Math.Sqrt(2 / (EllipseVertices * Math.Sin(2 * Math.PI / EllipseVertices)));
        var circle = new PlanePoint[EllipseVertices];
        for (var i = 0; i < EllipseVertices; i++)
        {
            var (sin, cos) = Math.SinCos(2 * Math.PI * i / EllipseVertices);
            circle[i] = new PlanePoint(radius * cos, radius * sin);
        }

        return circle;
    }

    private void DrawObject(ReadOnlySpan<PlanePoint> polygon, float grey, Span<float> image)
    {
        if (_smooth)
            PolygonRasterizer.DrawSmooth(polygon, grey, image, Size);
        else
            PolygonRasterizer.DrawHard(polygon, grey, image, Size);
    }

    /// <summary>
    /// Label, vertex counts and grey levels of an image's objects, in drawing order; one object has no second.
    /// </summary>
    internal readonly record struct Scene(
        int Label, int FirstCount, float FirstGrey, int SecondCount, float SecondGrey);
}
