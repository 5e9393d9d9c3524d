using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Tests.Ops;

/// <summary>A norm on named inputs whose values are drawn from a seeded generator: outputs and, for a fixed dy, gradients.</summary>
internal sealed class NormCase
{
    private readonly Dictionary<string, Tensor> _inputs = [];
    private readonly Dictionary<string, double[]> _values = [];
    private readonly List<NamedTensor> _outputs = [];
    private readonly System.Random _random = new(11);

    public NormCase(DType dtype = DType.F64) => DType = dtype;

    public DType DType { get; }

    public Tensor this[string name] => _inputs[name];

    /// <summary>An input of independent normal values.</summary>
    public Tensor Normal(string name, Shape shape, double mean = 0, double deviation = 1) => Input(name, shape, _ => mean + deviation * Draw());

    /// <summary>An input with given values.</summary>
    public Tensor Input(string name, Shape shape, Func<int, double> value)
    {
        _values[name] = [.. Enumerable.Range(0, (int)shape.Elements).Select(value)];
        return _inputs[name] = F.Input(name, DType, shape);
    }

    /// <summary>0.3 + 2 sin(0.7 i + phase): the values behind the golden numbers.</summary>
    public Tensor Wave(string name, int phase, params int[] shape) => Input(name, new Shape(shape), i => 0.3 + 2 * Math.Sin(0.7 * i + phase));

    public NormCase Output(string name, Tensor tensor)
    {
        _outputs.Add(new(name, tensor));
        return this;
    }

    /// <summary>Adds "d name" for each input: the gradient of sum(dy * y).</summary>
    public NormCase Gradients(Tensor y, Tensor dy, params string[] names)
    {
        var found = Autodiff.VectorJacobian([y], [dy], [.. names.Select(n => _inputs[n])]);
        for (var i = 0; i < names.Length; i++) Output("d " + names[i], found[i]!);
        return this;
    }

    public IReadOnlyDictionary<string, double[]> Run(int threads = 2, bool fused = true)
    {
        using var device = new CpuDevice(threads, fused);
        using var run = new Evaluation(device, _outputs);
        foreach (var input in run.Program.Inputs)
        {
            var name = ((InputOp)input.Node.Op).InputName;
            run.Set(name, _values[name]);
        }

        // Twice: a kernel that leans on fresh scratch would show it in the second run.
        run.Run();
        run.Run();
        return _outputs.ToDictionary(o => o.Name, o => run.Get(o.Name));
    }

    /// <summary>Managed bytes that one run allocates on the calling thread once everything is warm.</summary>
    public long AllocatedByRun()
    {
        using var device = new CpuDevice(2);
        using var run = new Evaluation(device, _outputs);
        for (var i = 0; i < 3; i++) run.Run();
        var before = GC.GetAllocatedBytesForCurrentThread();
        run.Run();
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private double Draw() => Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble());
}
