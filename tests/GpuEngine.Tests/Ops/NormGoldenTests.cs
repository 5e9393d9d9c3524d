using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>
/// Numbers from torch 1.13 in float64: x = wave(0, 3, 2, 2), dy = wave(3, 3, 2, 2), weight = wave(1, ...), bias = wave(2, ...),
/// running_mean = wave(4, 2), running_var = |wave(5, 2)|, momentum 0.3, eps 1e-3, where
/// wave(k, *shape) = torch.tensor([math.sin(0.7 * i + k) * 2 + 0.3 for i in range(math.prod(shape))]).reshape(shape).
/// They have 12 digits, so agreement to 1e-10 is as much as they can show.
/// </summary>
public class NormGoldenTests
{
    private const double Eps = 1e-3;

    [Fact]
    public void Batch_norm_in_training()
    {
        var c = Case(2);
        var y = F.BatchNorm(c["x"], c["rm"], c["rv"], c["w"], c["b"], training: true, momentum: 0.3, eps: Eps);
        c.Output("rm'", y.RunningMean!).Output("rv'", y.RunningVar!);
        Check(c, y.Output, new()
        {
            ["y"] = [2.10756111828, 5.16047126185, 3.05305825319, 2.72721678664, 3.69505047451, 0.445219808463, -1.89699176797, -2.19254285466, -0.883974755758, 2.18724121456, 2.17751350284, 3.06030464276],
            ["d x"] = [0.483617572204, 0.310170148633, 0.0130345572669, -0.234961556329, -0.823677327632, -0.802594221099, -0.14650905834, 0.11337313758, 0.349383176148, 0.483100651745, 0.248400214052, 0.00666270577086],
            ["d w"] = [-4.94435985946, -9.99187778173],
            ["d b"] = [2.24130639441, -1.37092735538],
            ["rm'"] = [-0.758126506199, -0.93591400617],
            ["rv'"] = [1.38426121123, 1.61721354883],
        });
    }

    [Fact]
    public void Batch_norm_in_evaluation()
    {
        var c = Case(2);
        Check(c, F.BatchNorm(c["x"], c["rm"], c["rv"], c["w"], c["b"], eps: Eps).Output, new()
        {
            ["y"] = [4.47754870968, 6.48557564782, 11.2764508845, 10.6532535264, 5.52170698536, 3.38415716734, 1.80909202417, 1.24382739306, 2.50989020059, 4.52995764811, 9.60190288709, 11.2903101728],
            ["d x"] = [0.907421249053, -1.18394949119, -4.0866722007, -3.95520470622, -0.980615191999, 1.13807923355, 4.81094217631, 5.85745321136, 2.75666631284, 0.855474611473, -2.00877115069, -4.11233079913],
            ["d w"] = [-0.577599563813, -23.0075202939],
            ["d b"] = [2.24130639441, -1.37092735538],
        });
    }

    [Fact]
    public void Group_norm()
    {
        var c = Case(2);
        Check(c, F.GroupNorm(c["x"], 1, c["w"], c["b"], Eps), new()
        {
            ["y"] = [-1.13058004479, 2.22807121635, 3.32934246545, 2.59549549507, 5.170895411, 2.56238900108, -0.615273402367, -1.10091066219, -0.720166445221, 1.34942371504, 2.62309537352, 3.84090729971],
            ["d x"] = [-0.143967553215, 0.642426255669, 0.0798528737598, -0.578311576213, 0.199201341005, -0.407503598125, -0.0873340719341, 0.295636329055, -0.148201836029, 0.201246897885, 0.145134471397, -0.198179533253],
            ["d w"] = [-4.54617426053, -8.64364580687],
            ["d b"] = [2.24130639441, -1.37092735538],
        });
    }

    [Fact]
    public void Layer_norm()
    {
        var c = Case(2, 2);
        Check(c, F.LayerNorm(c["x"], [2, 2], c["w"], c["b"], Eps), new()
        {
            ["y"] = [-1.13058004479, 1.2808202431, 1.36121637219, -1.0947870205, 5.170895411, 1.66578244189, -1.49087745648, -1.71507410804, -0.720166445221, 0.269070077534, 0.850575275593, -0.885796766657],
            ["d x"] = [0.143864222226, -0.935791738628, -0.695067677598, 1.486995194, -0.471905127528, 0.799678154896, 1.03134332407, -1.35911635143, 0.214395741773, -0.114969321112, -0.70424068967, 0.604814269008],
            ["d w"] = [-4.45474709008, -0.0914271704561, -3.49667311521, -5.14697269166],
            ["d b"] = [1.72182985304, 0.519476541373, -0.503910641859, -0.867016713516],
        });
    }

    [Fact]
    public void Instance_norm_with_running_statistics()
    {
        var c = Case(2);
        var y = F.InstanceNorm(c["x"], c["rm"], c["rv"], c["w"], c["b"], momentum: 0.3, eps: Eps);
        c.Output("rm'", y.RunningMean!).Output("rv'", y.RunningVar!);
        Check(c, y.Output, new()
        {
            ["y"] = [0.138037567539, 4.09915213976, 3.36531930763, -1.0557997867, 4.09943193345, 0.137757773849, 3.35053025142, -1.04101073048, 0.138009275191, 4.09918043211, -1.11823156931, 3.42775109025],
            ["d x"] = [0.00495836416531, -0.00495836416531, -0.0292504769432, 0.0292504769431, -0.00416600349895, 0.00416600349895, -0.305797499402, 0.305797499402, 0.00442754422047, -0.00442754422047, 0.0255859317902, -0.0255859317902],
            ["d w"] = [-3.91673552418, -1.26622615185],
            ["d b"] = [2.24130639441, -1.37092735538],
            ["rm'"] = [-0.758126506199, -0.93591400617],
            ["rv'"] = [1.39355542361, 0.588343290755],
        });
    }

    [Fact]
    public void Local_response_norm()
    {
        // F.local_response_norm(wave(0, 1, 5, 1), 2, alpha=0.5, beta=0.75, k=2.)
        var c = new NormCase();
        c.Wave("x", 0, 1, 5, 1);
        c.Output("y", F.LocalResponseNorm(c["x"], 2, 0.5, 0.75, 2));
        Near([0.176890641535, 0.76406802358, 0.815137822297, 0.676753081364, 0.399638624179], c.Run()["y"], "y");
    }

    [Fact]
    public void Rms_norm_follows_its_formula_with_the_epsilon_of_the_dtype()
    {
        // torch 1.13 has no rms_norm; 2.4 documents y = x / sqrt(mean(x^2) + eps) * weight with eps = finfo(dtype).eps by default.
        var c = new NormCase(DType.F32);
        c.Input("x", [1, 2], i => i == 0 ? 3e-4 : 4e-4);
        c.Input("w", [2], i => i + 1);
        c.Output("y", F.RmsNorm(c["x"], [2], c["w"]));
        var root = Math.Sqrt(12.5e-8 + Math.Pow(2, -23));
        var y = c.Run()["y"];
        // A few roundings of float32.
        Assert.Equal(3e-4 / root, y[0], 2e-7);
        Assert.Equal(8e-4 / root, y[1], 4e-7);
    }

    private static NormCase Case(params int[] parameters)
    {
        var c = new NormCase();
        c.Wave("x", 0, 3, 2, 2);
        c.Wave("dy", 3, 3, 2, 2);
        c.Wave("w", 1, parameters);
        c.Wave("b", 2, parameters);
        c.Wave("rm", 4, 2);
        c.Input("rv", [2], i => Math.Abs(0.3 + 2 * Math.Sin(0.7 * i + 5)));
        return c;
    }

    private static void Check(NormCase c, Tensor y, Dictionary<string, double[]> expected)
    {
        c.Output("y", y).Gradients(y, c["dy"], "x", "w", "b");
        foreach (var fused in new[] { true, false })
        {
            var actual = c.Run(fused: fused);
            foreach (var (name, values) in expected) Near(values, actual[name], name);
        }
    }

    private static void Near(double[] expected, double[] actual, string name)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= 1e-10, $"{name}[{i}]: {actual[i]:R} instead of {expected[i]:R}");
    }
}
