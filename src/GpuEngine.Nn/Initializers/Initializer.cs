using GpuEngine.Core;
using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Initializers;

/// <summary>
/// The starting values of a parameter: a pure function of the seed, the parameter's stream (its index in the model) and its
/// shape, made on the host from Philox in double and rounded once, so weights are bit-equal on every device. Weights are
/// [out, in, ...] as torch has them: linear [out, in], convolution [K, C/groups, R, S].
/// </summary>
public abstract class Initializer
{
    /// <summary>Doubles that a float tensor is filled from at a time.</summary>
    private const int Chunk = 1 << 14;

    /// <param name="name">The text form.</param>
    protected Initializer(string name) => Name = name;

    /// <summary>The text form, as <see cref="Create"/> reads it.</summary>
    public string Name { get; }

    /// <summary>True when the weights must be rescaled on a batch of data afterwards; see <see cref="Lsuv"/>.</summary>
    public virtual bool NeedsData => false;

    /// <summary>Makes an initializer from its text form: torch's names, he_ and glorot_ aliases, and the lectures' literal forms.</summary>
    /// <exception cref="UserException">Unknown name or bad argument.</exception>
    public static Initializer Create(string text) => InitializerText.Read(text);

    /// <summary>The names that <see cref="Create"/> knows.</summary>
    public static IReadOnlyList<string> Names => InitializerText.Names;

    /// <summary>torch's start of the bias of a linear or convolution layer: uniform within 1/sqrt(fan_in) of its weight.</summary>
    public static Initializer DefaultBias(Shape weight)
    {
        var fanIn = Fans.Of(weight).In;
        var bound = fanIn > 0 ? 1 / Math.Sqrt(fanIn) : 0;
        return new Uniform(-bound, bound);
    }

    /// <summary>Fills a parameter of the given shape.</summary>
    /// <exception cref="UserException">The shape has too few axes for this initializer.</exception>
    public virtual void Fill(Span<double> values, Shape shape, ulong seed, uint stream)
    {
        CheckLength(values.Length, shape);
        FillRange(values, 0, shape, seed, stream);
    }

    /// <summary>The same values rounded to float.</summary>
    /// <exception cref="UserException">The shape has too few axes for this initializer.</exception>
    public virtual void Fill(Span<float> values, Shape shape, ulong seed, uint stream)
    {
        CheckLength(values.Length, shape);
        var chunk = new double[Math.Min(Chunk, values.Length)];
        for (var done = 0; done < values.Length; done += Chunk)
        {
            var part = chunk.AsSpan(0, Math.Min(Chunk, values.Length - done));
            FillRange(part, done, shape, seed, stream);
            for (var i = 0; i < part.Length; i++) values[done + i] = (float)part[i];
        }
    }

    public override string ToString() => Name;

    /// <summary>Elements start .. start + part.Length - 1 of the parameter.</summary>
    protected abstract void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream);

    protected static void CheckLength(int length, Shape shape)
    {
        if (length != shape.Elements) throw new ArgumentException($"A parameter of shape {shape} has {shape.Elements} values, but room for {length} was given.");
    }
}
