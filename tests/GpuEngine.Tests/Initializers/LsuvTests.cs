using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;
using GpuEngine.Nn.Initializers;
using Xunit;

namespace GpuEngine.Tests.Initializers;

/// <summary>A16: after one pass every layer's output variance is within 0.1 of 1, on a real MLP on the CPU device.</summary>
public class LsuvTests
{
    private const int Batch = 64;
    private static readonly int[] Widths = [20, 50, 30, 30, 10];

    [Fact]
    public void Every_layers_output_variance_ends_within_a_tenth_of_1()
    {
        using var net = new Mlp(scaleOfData: 5);
        var before = Enumerable.Range(0, net.Layers.Count).Select(net.OutputStd).ToArray();
        Assert.Contains(before, std => Math.Abs(std * std - 1) > 0.5);
        var report = new Lsuv().Run(net.Layers, net.OutputStd, net.Divide);
        for (var layer = 0; layer < net.Layers.Count; layer++)
        {
            var std = net.OutputStd(layer);
            Assert.InRange(std * std, 0.9, 1.1);
            Assert.Equal(std, report[layer].FinalStd);
            // A linear layer needs one division; floating point may ask for none more.
            Assert.InRange(report[layer].Tries, 0, 1);
        }
    }

    [Fact]
    public void It_gives_up_after_ten_tries_and_names_a_dead_layer()
    {
        var calls = 0;
        var report = new Lsuv().Run(["stuck"], _ => 2.0, (_, _) => calls++);
        Assert.Equal((10, 10), (calls, report[0].Tries));
        var error = Assert.Throws<UserException>(() => new Lsuv().Run(["fc1", "fc2"], layer => layer, (_, _) => { }));
        Assert.Contains("'fc1'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_start_is_orthogonal_and_asks_for_data()
    {
        var start = Initializer.Create("lsuv");
        Assert.True(start.NeedsData);
        Assert.False(Initializer.Create("orthogonal").NeedsData);
        var (a, b) = (new double[12], new double[12]);
        start.Fill(a, [3, 4], 5, 6);
        new Orthogonal().Fill(b, [3, 4], 5, 6);
        Assert.Equal(b, a);
    }

    private sealed class Mlp : IDisposable
    {
        private readonly CpuDevice _device = new(1);
        private readonly List<Variable> _weights = [];
        private readonly Evaluation _run;

        public Mlp(double scaleOfData)
        {
            var h = F.Input("x", DType.F32, [Batch, Widths[0]]);
            List<NamedTensor> outputs = [];
            for (var i = 1; i < Widths.Length; i++)
            {
                var weight = new Variable($"fc{i}.weight", DType.F32, [Widths[i], Widths[i - 1]], MemoryClass.Weights);
                _weights.Add(weight);
                var z = F.Linear(h, weight.Value);
                outputs.Add(new(weight.Name, z));
                h = F.Maximum(z, F.Scalar(0, DType.F32));
            }

            _run = new Evaluation(_device, outputs);
            for (var i = 0; i < _weights.Count; i++)
            {
                var values = new float[_weights[i].Type.Elements];
                Initializer.Create("lsuv").Fill(values, _weights[i].Type.Shape, 1, (uint)i);
                _run.Variables.Write<float>(_weights[i], values);
            }

            var data = new double[Batch * Widths[0]];
            Philox.FillNormal(data.AsSpan(), 3, 0, 0);
            _run.Set("x", [.. data.Select(v => v * scaleOfData)]);
        }

        public IReadOnlyList<string> Layers => [.. _weights.Select(w => w.Name)];

        public double OutputStd(int layer)
        {
            _run.Run();
            var values = _run.Get(_weights[layer].Name);
            var mean = values.Average();
            return Math.Sqrt(values.Average(v => (v - mean) * (v - mean)));
        }

        public void Divide(int layer, double std)
        {
            var values = _run.Variables.ReadArray<float>(_weights[layer]);
            for (var i = 0; i < values.Length; i++) values[i] = (float)(values[i] / std);
            _run.Variables.Write<float>(_weights[layer], values);
        }

        public void Dispose()
        {
            _run.Dispose();
            _device.Dispose();
        }
    }
}
