using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Core.Verification;

/// <summary>
/// One sample of a catalog op, recorded in a dtype with inputs named after the op's arguments: its outputs and, for a fixed
/// random projection L = sum of w_k . output_k, the gradients of L.
/// </summary>
public sealed class OpInstance
{
    private readonly Dictionary<string, Tensor> _inputs = [];

    public OpInstance(OpSpec spec, OpSample sample, DType dtype, bool withGradients)
    {
        Spec = spec;
        Sample = sample;
        foreach (var (name, tensor) in sample.Tensors)
            _inputs[name] = F.Input(name, tensor.Kind == SampleKind.Index ? DType.I64 : dtype, tensor.Shape);
        var attributes = sample.Attributes.ToDictionary(a => a.Key, a => OpCall.ToJson(a.Value));
        Outputs = OpCatalog.Call(spec, _inputs, attributes);
        if (!withGradients) return;

        Projection = Project(Outputs, dtype);
        var names = DifferentiableInputs;
        var gradients = Autodiff.Gradients(Projection, [.. names.Select(n => _inputs[n])]);
        Gradients = [.. names.Select((n, i) => new NamedTensor("grad_" + n, gradients[i]))];
    }

    public OpSpec Spec { get; }

    public OpSample Sample { get; }

    public IReadOnlyDictionary<string, Tensor> Inputs => _inputs;

    public IReadOnlyList<NamedTensor> Outputs { get; }

    /// <summary>The scalar whose gradients are taken; null when they were not asked for.</summary>
    public Tensor? Projection { get; }

    public IReadOnlyList<NamedTensor> Gradients { get; } = [];

    /// <summary>Arguments that have a gradient and are part of the sample.</summary>
    public IReadOnlyList<string> DifferentiableInputs =>
    [
        .. Spec.Arguments.Where(a => a.Differentiable && Sample.Tensors.TryGetValue(a.Name, out var s) && s.Kind != SampleKind.Index)
            .Select(a => a.Name),
    ];

    /// <summary>The values of an argument, the same for every dtype up to rounding to f32.</summary>
    public double[] Values(string argument)
    {
        var sample = Sample.Tensors[argument];
        var values = new double[sample.Shape.Elements];
        var stream = (uint)(Spec.Arguments.ToList().FindIndex(a => a.Name == argument) + 1);
        for (var i = 0; i < values.Length; i++)
        {
            var (x, y, _, _) = Philox.Block(20260101, (uint)i, 0, stream, (uint)values.Length);
            var (u, v) = ((x + 0.5) / 4294967296.0, (y + 0.5) / 4294967296.0);
            values[i] = sample.Kind switch
            {
                SampleKind.Normal => (float)(Math.Sqrt(-2 * Math.Log(u)) * Math.Cos(2 * Math.PI * v)),
                SampleKind.Uniform => (float)(sample.Low + (sample.High - sample.Low) * u),
                _ => Math.Floor(sample.Low + (sample.High - sample.Low) * u),
            };
        }

        return values;
    }

    /// <summary>
    /// Weights that look random but need no input: cos(1.7 i + k), computed in f64 and cut to multiples of 1/64, which every dtype holds
    /// exactly. Otherwise gradients in bf16 would be compared with those of another projection.
    /// </summary>
    private static Tensor Project(IReadOnlyList<NamedTensor> outputs, DType dtype)
    {
        Tensor? total = null;
        for (var k = 0; k < outputs.Count; k++)
        {
            var y = outputs[k].Tensor;
            if (!y.DType.IsFloat()) continue;
            var weights = F.Cast(F.Floor(F.Cos(F.Arange((int)y.Type.Elements, DType.F64) * 1.7 + k) * 64) * (1.0 / 64), dtype);
            var term = F.Sum(F.Cast(F.Reshape(y, [(int)y.Type.Elements]), dtype) * weights);
            total = total is null ? term : total + term;
        }

        return total ?? throw new InvalidOperationException("No output can be differentiated.");
    }
}
