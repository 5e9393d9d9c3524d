using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;
using GpuEngine.Nn.Data;

namespace GpuEngine.Nn.Training;

/// <summary>
/// What becomes of a batch between the loader and the model. Without augmentation the loader standardises and the model gets its floats.
/// With it, images that are kept as bytes go to the device as they are, a quarter of the transfer, and are normalised there after the window
/// is cut, so that padding is black as in torchvision; in evaluation too, so that both see the same numbers.
/// </summary>
public sealed class InputPipeline
{
    /// <summary>
    /// Where generated images stand when colours need numbers in [0, 1]: theirs are standardised and have no black and white of their own.
    /// </summary>
    private const double GeneratedMean = 0.5, GeneratedDeviation = 0.25;

    /// <summary>The program's input that says which images alternating flips mirror, i32 [N].</summary>
    private const string Flips = "flips";

    private readonly AugmentOp _training;
    private readonly double[]? _mean;
    private readonly double[]? _deviation;
    private readonly bool _moves;
    private readonly bool _alternates;
    private readonly ulong _seed;
    private int[] _flips = [];

    private InputPipeline(AugmentOp training, bool bytes, double[]? mean, double[]? deviation, bool alternates = false, ulong seed = 0)
    {
        (_training, ReadsBytes, _mean, _deviation, _alternates, _seed) = (training, bytes, mean, deviation, alternates, seed);
        _moves = !bytes && mean is not null;
    }

    /// <summary>The loader's floats as they are.</summary>
    public static InputPipeline None { get; } = new(new AugmentOp(), false, null, null);

    /// <summary>Whether the loader gives bytes.</summary>
    public bool ReadsBytes { get; }

    /// <summary>The dtype of the program's input.</summary>
    public DType DType => ReadsBytes ? DType.U8 : DType.F32;

    /// <param name="augmentation">The transforms.</param>
    /// <param name="example">Shape of an image.</param>
    /// <param name="statistics">What bytes are standardised with; null where images are floats.</param>
    /// <param name="seed">Draws which images alternating flips begin with.</param>
    /// <exception cref="UserException">The transforms do not fit the images.</exception>
    public static InputPipeline Of(Augmentation augmentation, ExampleShape example, ChannelStatistics? statistics, ulong seed = 0)
    {
        if (augmentation == Augmentation.None) return None;
        double[]? mean = null, deviation = null;
        if (statistics is not null)
            (mean, deviation) = ([.. statistics.Mean.Select(m => m / 255)], [.. statistics.Deviation.Select(d => d / 255)]);
        else if (augmentation.Jitter is not null)
            (mean, deviation) = (Repeated(GeneratedMean), Repeated(GeneratedDeviation));
        // Zeros around generated images are zeros, their mean.
        var op = augmentation.ToOp(example, statistics is null && mean is not null ? GeneratedMean : 0);
        var pipeline = new InputPipeline(op, statistics is not null, mean, deviation, augmentation.AlternatesFlips, seed);
        // Whatever does not fit is said now and not when the step is built.
        _ = pipeline.Training(
            F.Input("input", pipeline.DType, [1, example.Channels, example.Height, example.Width]), F.Literal([2], DType.I64, 0, 0), DType.F32);
        return pipeline;

        double[] Repeated(double value) => [.. Enumerable.Repeat(value, example.Channels)];
    }

    /// <summary>The training batch as the model gets it.</summary>
    /// <param name="input">[N, C, H, W] of <see cref="DType"/>.</param>
    /// <param name="generator">The generator's state i64[2] (seed, offset).</param>
    /// <param name="compute">The dtype of the result.</param>
    public Tensor Training(Tensor input, Tensor generator, DType compute)
    {
        if (this == None) return F.Cast(input, compute);
        using var scope = Scope.Enter("input");
        var x = _moves ? input * GeneratedDeviation + GeneratedMean : input;
        var flips = _alternates ? F.Input(Flips, DType.I32, [input.Shape[0]]) : null;
        return F.Augment(x, _training with { To = compute }, generator, _mean, _deviation, flips);
    }

    /// <summary>A batch in evaluation: nothing is random.</summary>
    /// <param name="input">[N, C, H, W] of <see cref="DType"/>.</param>
    /// <param name="view">The images themselves, or moved and mirrored.</param>
    /// <param name="compute">The dtype of the result.</param>
    public Tensor Evaluation(Tensor input, View view, DType compute)
    {
        if (!ReadsBytes && view == View.Plain) return F.Cast(input, compute);
        using var scope = Scope.Enter("input");
        var op = view.ToOp(input.Shape) with { To = compute };
        return F.Augment(input, op, F.Literal([2], DType.I64, 0, 0), ReadsBytes ? _mean : null, ReadsBytes ? _deviation : null);
    }

    /// <summary>Hands a training batch to a program.</summary>
    public void WriteTraining(IExecutable executable, string input, Batch batch)
    {
        Write(executable, input, batch);
        if (!_alternates) return;
        if (_flips.Length != batch.Size) _flips = new int[batch.Size];
        for (var row = 0; row < batch.Size; row++) _flips[row] = (FirstFlip(batch.Indices[row]) + (int)batch.Cursor.Epoch) & 1;
        executable.Write<int>(Flips, _flips);
    }

    /// <summary>Whether an image is flipped in the first epoch: a word of its own.</summary>
    private int FirstFlip(long image)
    {
        Span<uint> word = stackalloc uint[1];
        Philox.FillBits(word, _seed, DataStream.Flips, 0, image);
        return (int)(word[0] >> 31);
    }

    /// <summary>Hands a batch to a program that evaluates.</summary>
    public void Write(IExecutable executable, string input, Batch batch)
    {
        if (ReadsBytes) executable.Write<byte>(input, batch.Pixels);
        else executable.Write<float>(input, batch.Inputs);
    }
}
