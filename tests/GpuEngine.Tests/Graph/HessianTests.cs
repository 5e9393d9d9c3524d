using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Graph;

/// <summary>Second order: Hessian-vector products against finite differences of the (separately checked) gradient.</summary>
public class HessianTests
{
    [Fact]
    public void Hessian_vector_products_of_an_mlp_with_batch_norm_match_differences_of_gradients()
    {
        const int Batch = 7, In = 5, Width = 6;
        Shape[] shapes = [[Width, In], [Width], [Width], [Width, Width], [Width], [Width], [3, Width]];
        var x = F.Input("x", DType.F64, [Batch, In]);
        var p = shapes.Select((s, i) => F.Input($"p{i}", DType.F64, s)).ToArray();
        var v = shapes.Select((s, i) => F.Input($"v{i}", DType.F64, s)).ToArray();
        var h = F.Linear(x, p[0]);
        // softplus: twice differentiable, so finite differences are meaningful.
        h = Softplus(F.BatchNorm(h, null, null, p[1], p[2], training: true).Output);
        h = Softplus(F.BatchNorm(F.Linear(h, p[3]), null, null, p[4], p[5], training: true).Output);
        var y = F.Linear(h, p[6]);
        var loss = F.Mean(y * y * y);
        var gradients = Autodiff.Gradients(loss, p);
        var products = Autodiff.HessianVector(loss, p, v);

        using var device = new CpuDevice(2);
        NamedTensor[] outputs = [.. gradients.Select((g, i) => new NamedTensor($"g{i}", g)), .. products.Select((g, i) => new NamedTensor($"hv{i}", g))];
        using var run = new Evaluation(device, outputs);
        var random = new System.Random(3);
        double[] Draw(Shape s) => [.. Enumerable.Range(0, (int)s.Elements).Select(_ => random.NextDouble() * 2 - 1)];
        run.Set("x", Draw([Batch, In]));
        var values = shapes.Select(Draw).ToArray();
        var directions = shapes.Select(Draw).ToArray();
        for (var i = 0; i < p.Length; i++) run.Set($"v{i}", directions[i]);

        double[][] Gradient(double step)
        {
            for (var i = 0; i < p.Length; i++)
            {
                var moved = values[i].Zip(directions[i], (a, d) => a + step * d).ToArray();
                run.Set($"p{i}", moved);
            }

            run.Run();
            return [.. p.Select((_, i) => run.Get($"g{i}"))];
        }

        const double H = 1e-4;
        var (a, b, c, d) = (Gradient(H), Gradient(-H), Gradient(2 * H), Gradient(-2 * H));
        Gradient(0);
        for (var i = 0; i < p.Length; i++)
        {
            var exact = run.Get($"hv{i}");
            var scale = exact.Max(Math.Abs);
            for (var j = 0; j < exact.Length; j++)
            {
                var numeric = (8 * (a[i][j] - b[i][j]) - (c[i][j] - d[i][j])) / (12 * H);
                // Truncation of order h^4 = 1e-16 times fifth derivatives, rounding of order 1e-16/h = 1e-12: 1e-8 is generous.
                Assert.True(Math.Abs(numeric - exact[j]) <= 1e-8 * Math.Max(scale, 1), $"parameter {i}, entry {j}: {exact[j]} against {numeric}");
            }
        }
    }

    private static Tensor Softplus(Tensor x) => F.Log1p(F.Exp(-F.Abs(x))) + F.Maximum(x, F.Scalar(0, x.DType));
}
