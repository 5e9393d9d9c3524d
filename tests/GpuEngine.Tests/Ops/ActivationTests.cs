using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>Activations against numbers of PyTorch 1.13 in double, at kinks, in the tails and by name.</summary>
public class ActivationTests
{
    private static readonly double[] X = [-100, -7.5, -3, -1, -0.25, 0, 0.5, 1, 3, 6, 25, 100];

    // t = torch.tensor(X, dtype=torch.float64, requires_grad=True); y = f(t); torch.autograd.grad(y.sum(), t)
    public static TheoryData<string, double[], double[]> Golden() => new()
    {
        {
            "relu",
            [0, 0, 0, 0, 0, 0, 0.5, 1, 3, 6, 25, 100],
            [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
        },
        {
            "leaky_relu",
            [-1, -0.075, -0.03, -0.01, -0.0025, 0, 0.5, 1, 3, 6, 25, 100],
            [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 1, 1, 1, 1, 1, 1]
        },
        {
            "leaky_relu:0.1",
            [-10, -0.75, -0.30000000000000004, -0.1, -0.025, 0, 0.5, 1, 3, 6, 25, 100],
            [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 1, 1, 1, 1, 1, 1]
        },
        {
            "elu",
            [-1, -0.9994469156298522, -0.950212931632136, -0.6321205588285577, -0.22119921692859512, 0, 0.5, 1, 3, 6, 25, 100],
            [3.720075976020836e-44, 0.0005530843701478336, 0.049787068367863944, 0.36787944117144233, 0.7788007830714049, 1, 1, 1, 1, 1, 1, 1]
        },
        {
            "elu:0.5",
            [-0.5, -0.4997234578149261, -0.475106465816068, -0.31606027941427883, -0.11059960846429756, 0, 0.5, 1, 3, 6, 25, 100],
            [1.860037988010418e-44, 0.0002765421850739168, 0.024893534183931972, 0.18393972058572117, 0.38940039153570244, 0.5, 1, 1, 1, 1, 1, 1]
        },
        {
            "selu",
            [-1.7580993408473766, -1.757126963580787, -1.6705687287671118, -1.1113307378125625, -0.388890197478119, 0, 0.5253504936777402, 1.0507009873554805, 3.1521029620664414, 6.304205924132883, 26.26752468388701, 105.07009873554804],
            [6.540263121344393e-44, 0.0009723772665898928, 0.08753061208026487, 0.646768603034814, 1.3692091433692577, 1.7580993408473766, 1.0507009873554805, 1.0507009873554805, 1.0507009873554805, 1.0507009873554805, 1.0507009873554805, 1.0507009873554805]
        },
        {
            "celu:2",
            [-2, -1.9529645082879818, -1.5537396797031404, -0.7869386805747332, -0.2350061948308091, 0, 0.5, 1, 3, 6, 25, 100],
            [1.9287498479639178e-22, 0.023517745856009107, 0.22313016014842982, 0.6065306597126334, 0.8824969025845955, 1, 1, 1, 1, 1, 1, 1]
        },
        {
            "gelu",
            [-0, -2.393918396847994e-13, -0.00404969409489031, -0.15865525393145702, -0.10032341857926907, 0, 0.34573123063700656, 0.841344746068543, 2.99595030590511, 5.999999994080474, 25, 100],
            [0, -1.793821487813784e-12, -0.01194564720418392, -0.08331547058768635, 0.304626645116364, 0.5, 0.8674951246561629, 1.0833154705876864, 1.011945647204184, 1.0000000354687093, 1, 1]
        },
        {
            "gelu:tanh",
            [-0, -0, -0.0036373920817729943, -0.1588080093917233, -0.100324649298315, 0, 0.34571400982514394, 0.8411919906082768, 2.996362607918227, 5.9999999999156035, 25, 100],
            [0, 0, -0.011584166630969648, -0.08296408384578258, 0.30464590484893955, 0.5, 0.8673699035346424, 1.0829640838457826, 1.0115841666309695, 1.0000000007709977, 1, 1]
        },
        {
            "silu",
            [-3.720075976020836e-42, -0.004145839776926997, -0.14227761953270035, -0.2689414213699951, -0.10945587477855048, 0, 0.3112296656009273, 0.7310585786300049, 2.8577223804672998, 5.985164261060192, 24.9999999996528, 100],
            [-3.682875216260627e-42, -0.0035907694083426034, -0.08810410601516962, 0.07232948812851325, 0.37628997842980233, 0.5, 0.7399611873026519, 0.9276705118714869, 1.0881041060151693, 1.0123264325915249, 1.000000000333312, 1]
        },
        {
            "mish",
            [-3.7200759760208363e-42, -0.0041469856425822285, -0.1456474612756246, -0.30340146137410895, -0.12992696367914103, 0, 0.37524521130489513, 0.8650983882673103, 2.9865350049679575, 5.999926634065252, 25, 100],
            [-3.682875216260627e-42, -0.0035929070903953616, -0.09339311453232084, 0.059216755877395014, 0.4398156017218052, 0.6, 0.8864243753577273, 1.0490362200997922, 1.0211069109294435, 1.00013414050621, 1, 1]
        },
        {
            "softplus",
            [3.720075976020836e-44, 0.0005529314753607964, 0.04858735157374206, 0.31326168751822286, 0.5759394198788436, 0.6931471805599453, 0.9740769841801067, 1.3132616875182228, 3.048587351573742, 6.00247568513773, 25, 100],
            [3.720075976020836e-44, 0.0005527786369235996, 0.04742587317756679, 0.2689414213699951, 0.4378234991142019, 0.5, 0.6224593312018546, 0.7310585786300049, 0.9525741268224333, 0.9975273768433652, 1, 1]
        },
        {
            "softplus:2,3",
            [6.919482633683688e-88, 1.5295113685686024e-07, 0.0012378425688652247, 0.06346400552148625, 0.23703849209005334, 0.34657359027997264, 0.6566308437591114, 1.0634640055214863, 3, 6, 25, 100],
            [1.3838965267367376e-87, 3.059022269256247e-07, 0.0024726231566347748, 0.11920292202211755, 0.37754066879814546, 0.5, 0.7310585786300049, 0.8807970779778824, 1, 1, 1, 1]
        },
        {
            "softsign",
            [-0.9900990099009901, -0.8823529411764706, -0.75, -0.5, -0.2, 0, 0.3333333333333333, 0.5, 0.75, 0.8571428571428571, 0.9615384615384616, 0.9900990099009901],
            [9.80296049406925e-05, 0.013840830449826994, 0.0625, 0.25, 0.64, 1, 0.4444444444444444, 0.25, 0.0625, 0.020408163265306117, 0.001479289940828403, 9.80296049406925e-05]
        },
        {
            "sigmoid",
            [3.7200759760208356e-44, 0.0005527786369235996, 0.04742587317756678, 0.2689414213699951, 0.43782349911420193, 0.5, 0.6224593312018546, 0.7310585786300049, 0.9525741268224334, 0.9975273768433653, 0.999999999986112, 1],
            [3.7200759760208356e-44, 0.0005524730727021604, 0.04517665973091214, 0.19661193324148185, 0.24613408273759835, 0.25, 0.2350037122015945, 0.19661193324148185, 0.045176659730912, 0.002466509291359931, 1.3888001859448131e-11, 0]
        },
        {
            "logsigmoid",
            [-100, -7.500552931475361, -3.048587351573742, -1.3132616875182228, -0.8259394198788436, -0.6931471805599453, -0.4740769841801067, -0.31326168751822286, -0.04858735157374206, -0.0024756851377304495, -1.3887943864867583e-11, -3.720075976020836e-44],
            [1, 0.9994472213630764, 0.9525741268224333, 0.7310585786300049, 0.5621765008857982, 0.5, 0.37754066879814546, 0.2689414213699951, 0.04742587317756679, 0.0024726231566347748, 1.3887943864771146e-11, 3.720075976020836e-44]
        },
        {
            "tanh",
            [-1, -0.9999993881955461, -0.9950547536867305, -0.7615941559557649, -0.24491866240370913, 0, 0.46211715726000974, 0.7615941559557649, 0.9950547536867305, 0.9999877116507956, 1, 1],
            [0, 1.2236085334475042e-06, 0.009866037165440166, 0.41997434161402614, 0.940014848806378, 1, 0.7864477329659274, 0.41997434161402614, 0.009866037165440166, 2.4576547405302974e-05, 0, 0]
        },
        {
            "hardtanh",
            [-1, -1, -1, -1, -0.25, 0, 0.5, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
        },
        {
            "hardtanh:-0.25,3",
            [-0.25, -0.25, -0.25, -0.25, -0.25, 0, 0.5, 1, 3, 3, 3, 3],
            [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
        },
        {
            "relu6",
            [0, 0, 0, 0, 0, 0, 0.5, 1, 3, 6, 6, 6],
            [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]
        },
    };

    // torch's gelu, mish and tanh lose digits where 1 + tanh or 1 + erf cancels: an absolute 1e-14 allows for that, beside a few
    // roundings of the value.
    [Theory]
    [MemberData(nameof(Golden))]
    public void Values_and_derivatives_agree_with_torch_in_f64(string name, double[] y, double[] dy)
    {
        var (output, gradient) = Run(Activations.Parse(name), DType.F64, X);
        for (var i = 0; i < X.Length; i++)
        {
            Assert.Equal(y[i], output[i], 1e-14 + 1e-14 * Math.Abs(y[i]));
            Assert.Equal(dy[i], gradient[i], 1e-13 + 1e-14 * Math.Abs(dy[i]));
        }
    }

    // One rounding of x 0.1 and the like is 2^-24 = 6e-8; the functions keep within 5 units, the products add their own.
    [Theory]
    [MemberData(nameof(Golden))]
    public void Values_and_derivatives_agree_with_torch_in_f32(string name, double[] y, double[] dy)
    {
        var (output, gradient) = Run(Activations.Parse(name), DType.F32, X);
        for (var i = 0; i < X.Length; i++)
        {
            Assert.Equal(y[i], output[i], 1e-7 + 1e-6 * Math.Abs(y[i]));
            Assert.Equal(dy[i], gradient[i], 1e-6 + 1e-6 * Math.Abs(dy[i]));
        }
    }

    [Fact]
    public void Tails_keep_their_relative_accuracy()
    {
        // exp(-80) = 1.8048513878454153e-35 and Phi(-12) = 1.7764821120776755e-33, to 5 units of a float.
        Near(1.8048513878454153e-35, Run(new Sigmoid(), DType.F32, [-80]).Output[0]);
        Near(-80 * 1.8048513878454153e-35, Run(new Silu(), DType.F32, [-80]).Output[0]);
        Near(1.8048513878454153e-35, Run(new Softplus(), DType.F32, [-80]).Output[0]);
        Near(-1.8048513878454153e-35, Run(new LogSigmoid(), DType.F32, [80]).Output[0]);
        Near(-12 * 1.7764821120776755e-33, Run(new Gelu(), DType.F32, [-12]).Output[0]);
        Near(-1e-30, Run(new Elu(), DType.F32, [-1e-30]).Output[0]);
        Near(1e-30, Run(new Tanh(), DType.F32, [1e-30]).Output[0]);

        static void Near(double expected, double actual) => Assert.Equal(expected, actual, Math.Abs(expected) * 6e-7);
    }

    [Theory]
    [InlineData("relu", 0.0, 0.0)]
    [InlineData("leaky_relu:0.3", 0.0, 0.3)]
    [InlineData("elu:0.7", 0.0, 0.7)]
    [InlineData("hardtanh", 1.0, 0.0)]
    [InlineData("hardtanh", -1.0, 0.0)]
    [InlineData("hardsigmoid", 3.0, 0.0)]
    [InlineData("hardswish", -3.0, -0.5)]
    [InlineData("hardswish", 3.0, 1.0)]
    [InlineData("softplus:2,1", 0.5, 0.7310585786300049)]
    public void Derivatives_at_kinks_are_torchs(string name, double x, double slope) =>
        Assert.Equal(slope, Run(Activations.Parse(name), DType.F64, [x]).Gradient[0], 1e-15);

    [Fact]
    public void Nan_stays_nan()
    {
        foreach (var spec in Activations.All)
            Assert.True(double.IsNaN(Run(Activations.Create(spec.Name), DType.F32, [1, double.NaN]).Output[1]), spec.Name);
    }

    [Fact]
    public void Any_number_of_workers_gives_the_same_bits()
    {
        // 20,000 elements are shared among workers; 3 does not divide them, and the end is no whole register.
        var x = Enumerable.Range(0, 20_003).Select(i => Math.Sin(i) * 5).ToArray();
        foreach (var spec in Activations.All)
        {
            var activation = Activations.Create(spec.Name);
            var (one, three) = (Run(activation, DType.F32, x), Run(activation, DType.F32, x, 3));
            Assert.Equal(one.Output, three.Output);
            Assert.Equal(one.Gradient, three.Gradient);
        }
    }

    [Fact]
    public void Names_and_parameters_make_activations()
    {
        Assert.Equal(new LeakyRelu(0.1), Activations.Parse("leaky_relu:0.1"));
        Assert.Equal(new Gelu(true), Activations.Parse("gelu:tanh"));
        Assert.Equal(new Hardtanh(-2, 2), Activations.Parse("hardtanh:-2, 2"));
        Assert.Equal(new Hardtanh(0, 6), Activations.Parse("relu6"));
        Assert.Equal(new Identity(), Activations.Create("identity"));
        Assert.StartsWith("Unknown activation 'relux'. Did you mean 'relu'?", Message("relux"), StringComparison.Ordinal);
        Assert.Contains("takes no parameters", Message("relu:1"), StringComparison.Ordinal);
        Assert.Contains("'negative_slope' must be a number", Message("leaky_relu:steep"), StringComparison.Ordinal);
        Assert.Contains("Valid names: none, tanh", Message("gelu:tan"), StringComparison.Ordinal);
        Assert.Contains("min_val 2 must be below max_val 1", Message("hardtanh:2,1"), StringComparison.Ordinal);

        static string Message(string text) => Assert.Throws<UserException>(() => Activations.Parse(text)).Message;
    }

    private static (double[] Output, double[] Gradient) Run(Activation activation, DType dtype, double[] values, int threads = 1)
    {
        var x = F.Input("x", dtype, [values.Length]);
        var y = activation.On(x);
        var gradient = Autodiff.Gradients(F.Sum(y), [x])[0];
        using var device = new CpuDevice(threads);
        using var run = new Evaluation(device, [new("y", y), new("dx", gradient)]);
        run.Set("x", values);
        run.Run();
        return (run.Get("y"), run.Get("dx"));
    }
}
