using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// Operands of a node on scratch memory, filled with random numbers, and a stopwatch: what a choice between ways to run it is made by.
/// The workspace is the node's own.
/// </summary>
internal sealed class ConvolutionTrial : IDisposable
{
    /// <summary>Timed runs of a way; the median counts.</summary>
    private const int Runs = 7;

    /// <summary>A way whose first run takes so many times the best median is not timed.</summary>
    private const double Hopeless = 4;

    private const int PatternBytes = 1 << 20;

    private readonly List<DeviceMemory> _memories = [];
    private readonly CudaStream _stream;
    private readonly CudaEvent _start;
    private readonly CudaEvent _end;

    private ConvolutionTrial(CudaContext context)
    {
        _stream = context.CreateStream();
        (_start, _end) = (context.CreateEvent(timing: true), context.CreateEvent(timing: true));
    }

    public DevicePointer Output { get; private set; }

    public DevicePointer[] Inputs { get; private set; } = [];

    /// <summary>Null where there is no memory for a second set of operands.</summary>
    public static ConvolutionTrial? TryCreate(KernelLibrary library, Node node)
    {
        var trial = new ConvolutionTrial(library.Context);
        try
        {
            trial.Output = trial.Allocate(library.Context, node.Outputs[0].Type);
            trial.Inputs = [.. node.Inputs.Select(t => trial.Allocate(library.Context, t.Type))];
            trial._stream.Synchronize();
            return trial;
        }
        catch (OutOfDeviceMemoryException)
        {
            trial.Dispose();
            return null;
        }
    }

    /// <summary>Median milliseconds of one way.</summary>
    /// <param name="run">Queues it; false when it refuses.</param>
    /// <param name="best">The best median so far.</param>
    /// <returns>Null when it refuses or has no chance.</returns>
    public double? Median(Func<CudaStream, bool> run, double best)
    {
        // The first run loads what is loaded lazily.
        if (!run(_stream)) return null;
        if (Once(run) > Hopeless * best) return null;
        var times = new double[Runs];
        for (var i = 0; i < Runs; i++) times[i] = Once(run);
        Array.Sort(times);
        return times[Runs / 2];
    }

    public void Dispose()
    {
        _start.Dispose();
        _end.Dispose();
        _stream.Dispose();
        foreach (var memory in _memories) memory.Dispose();
    }

    private double Once(Func<CudaStream, bool> run)
    {
        _stream.Record(_start);
        run(_stream);
        _stream.Record(_end);
        _end.Synchronize();
        return _end.MillisecondsSince(_start);
    }

    /// <summary>Random numbers in [-1, 1): zeros would let the chip clock higher.</summary>
    private DevicePointer Allocate(CudaContext context, TensorType type)
    {
        var memory = context.Allocate(type.Bytes, "choosing how to convolve");
        _memories.Add(memory);
        var pattern = Pattern(type.DType, (int)Math.Min(type.Elements, PatternBytes / type.DType.Size()));
        _stream.CopyToDevice<byte>(pattern, memory.Span<byte>().Slice(0, pattern.Length));
        for (long done = pattern.Length; done < type.Bytes; done *= 2)
        {
            var next = Math.Min(done, type.Bytes - done);
            _stream.Copy<byte>(memory.Span<byte>().Slice(0, next), memory.Span<byte>().Slice(done, next));
        }

        return memory.Address;
    }

    private static byte[] Pattern(DType dtype, int elements)
    {
        var random = new System.Random(1);
        var values = new double[elements];
        for (var i = 0; i < elements; i++) values[i] = random.NextDouble() * 2 - 1;
        return Core.Devices.ElementData.FromDoubles(dtype, values);
    }
}
