using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Tests.Ops;

/// <summary>One call of a catalog op on given numbers: its first output and the gradients of the output's sum.</summary>
internal sealed class OpRun
{
    private readonly Dictionary<string, double[]> _values = [];

    public OpRun(
        string op, DType dtype, Dictionary<string, (Shape Shape, double[] Values)> inputs, Dictionary<string, object?>? attributes = null, int threads = 1)
    {
        var tensors = inputs.ToDictionary(i => i.Key, i => F.Input(i.Key, i.Key is "target" or "index" ? DType.I64 : dtype, i.Value.Shape));
        var json = (attributes ?? []).ToDictionary(a => a.Key, a => OpCall.ToJson(a.Value));
        var output = OpCatalog.Call(OpCatalog.Find(op), tensors, json)[0].Tensor;
        string[] wrt = [.. tensors.Where(t => t.Value.DType.IsFloat()).Select(t => t.Key)];
        var gradients = Autodiff.VectorJacobian([output], [F.Ones(output.Shape, output.DType)], [.. wrt.Select(w => tensors[w])]);
        List<NamedTensor> outputs = [new("output", output)];
        for (var i = 0; i < wrt.Length; i++)
        {
            if (gradients[i] is { } g) outputs.Add(new("grad_" + wrt[i], g));
        }

        using var device = new CpuDevice(threads);
        using var run = new Evaluation(device, outputs);
        foreach (var input in run.Executable.Plan.Program.Inputs)
        {
            var name = ((InputOp)input.Node.Op).InputName;
            run.Set(name, inputs[name].Values);
        }

        run.Run();
        foreach (var result in outputs) _values[result.Name] = run.Get(result.Name);
    }

    public double[] Output => _values["output"];

    public double[] this[string name] => _values[name];

    public static Dictionary<string, (Shape Shape, double[] Values)> Vector(params double[] x) => new() { ["input"] = (new Shape(x.Length), x) };
}
