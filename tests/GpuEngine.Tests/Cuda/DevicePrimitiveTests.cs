using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// Every primitive on the CUDA device against the CPU device, in shapes chosen by code path: flat with a vector tail,
/// broadcast, several axes, one element, nothing.
/// </summary>
[Collection("device")]
public sealed class DevicePrimitiveTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>, IDisposable
{
    private static readonly int[] Plane = [2, 3, 7, 6];

    internal static readonly Dictionary<string, Func<DType, Tensor>> Cases = new()
    {
        ["one element"] = t => F.Exp(X(t)),
        ["vector tail"] = t => F.Exp(X(t, 67)) * 2 + 1,
        ["empty"] = t => F.Exp(X(t, 0, 3)),
        ["row and column"] = t => X(t, 5, 1) * F.Exp(Y(t, 7)),
        ["channels"] = t => X(t, 2, 3, 5) + Y(t, 3, 1),
        ["three ways"] = t => F.Where(F.Gt(X(t, 4, 1, 3), F.Scalar(0, t)), Y(t, 5, 1), X(t, 4, 1, 3)),
        ["scalar beside vector"] = t => X(t, 33) / F.Sum(F.Abs(X(t, 33))),
        ["transcendental"] = t => F.Sin(X(t, 9)) + F.Cos(X(t, 9)) * F.Erf(X(t, 9)) - F.Log1p(F.Abs(X(t, 9))) + F.Expm1(X(t, 9)) / F.Sqrt(F.Abs(X(t, 9)) + 1),
        ["roots"] = t => F.Rsqrt(F.Abs(X(t, 9)) + 1) + F.Reciprocal(F.Abs(X(t, 9)) + 2) + F.Pow(F.Abs(X(t, 9)), F.Abs(Y(t, 9))) + F.Log(F.Abs(X(t, 9)) + 1),
        ["steps"] = t => F.Floor(X(t, 9) * 3) + F.Sign(X(t, 9)) + F.Maximum(X(t, 9), Y(t, 9)) - F.Minimum(X(t, 9), Y(t, 9)),
        ["logic"] = t => F.Cast(F.Or(F.And(F.Lt(X(t, 9), Y(t, 9)), F.Ne(X(t, 9), Y(t, 9))), F.Not(F.IsFinite(X(t, 9) / F.Scalar(0, t)))), t),
        ["to integers"] = t => F.Cast(F.Cast(X(t, 19) * 100, DType.I32) + F.Cast(F.Cast(X(t, 19) * 7, DType.I64), DType.I32), t),
        ["out of range"] = t => F.Cast(F.Cast(X(t, 19) * 1e12, DType.I32), DType.F64),
        ["to bytes"] = t => F.Cast(F.Cast(F.Abs(X(t, 19)) * 50, DType.U8), t),
        ["to bool"] = t => F.Cast(F.Cast(F.Floor(X(t, 19)), DType.Bool), t),
        ["arange"] = t => F.Arange(11, t) * X(t, 11),
        ["tensor"] = t => F.Literal([3], t, 1, -2, 0.5) * X(t, 3),
        ["broadcast_to"] = t => F.BroadcastTo(X(t, 1, 5), [4, 5]),
        ["permute"] = t => F.Permute(X(t, 2, 3, 4), [2, 0, 1]),
        ["transpose"] = t => F.Transpose(X(t, 33, 17)),
        ["slice"] = t => F.Slice(X(t, 7, 9), [1, 2], [3, 2], [2, 3]),
        ["slice of a slice"] = t => F.Narrow(F.Narrow(X(t, 7, 9), 0, 1, 5), 1, 3, 4) + 0.5,
        ["pad"] = t => F.Pad(X(t, 3, 4), [1, 0], [2, 1], [1, 2]),
        ["concat"] = t => F.Concat([X(t, 2, 3), Y(t, 2, 5), X(t, 2, 3)], 1),
        ["concat rows"] = t => F.Concat([X(t, 2, 3), F.Exp(X(t, 2, 3))], 0),
        ["pack"] = t => F.Pack([X(t, 3), F.Exp(X(t, 3))], [0, 5], 9),
        ["sum all"] = t => F.Sum(X(t, 6000)),
        ["sum rows"] = t => F.Sum(X(t, 5, 700), [1]),
        ["sum short rows"] = t => F.Sum(X(t, 70, 5), [1]),
        ["sum columns"] = t => F.Sum(X(t, 300, 35), [0]),
        ["sum long columns"] = t => F.Sum(X(t, 5000, 2), [0]),
        ["sum channels"] = t => F.Sum(X(t, 4, 3, 10), [0, 2]),
        ["sum middle"] = t => F.Sum(X(t, 4, 6, 3), [1]),
        ["sum of nothing"] = t => F.Sum(X(t, 0, 3), [0]),
        ["amax rows"] = t => F.Amax(X(t, 5, 70), [1]),
        ["amax columns"] = t => F.Amax(X(t, 40, 5), [0]),
        ["argmax"] = t => F.Cast(F.ArgMax(X(t, 9, 70)), t),
        ["argmax of ties"] = t => F.Cast(F.ArgMax(F.Floor(X(t, 9, 40))), t),
        ["gather"] = t => F.Gather(X(t, 4, 6), Index(5, 4, 9)),
        ["scatter_add"] = t => F.ScatterAdd(X(t, 4, 300), Index(8, 4, 300), 7),
        ["scatter_add wide"] = t => F.ScatterAdd(X(t, 2, 5), Index(300, 2, 5), 290),
        ["index_select"] = t => F.GatherRows(X(t, 6, 5), Index(7, 2, 4)),
        ["index_add"] = t => F.ScatterRows(X(t, 40, 5), Index(7, 40), 6),
        ["rand"] = t => F.RandomUniform(F.Literal([2], DType.I64, 99, 3), [5, 7], t, 4),
        ["max_pool2d"] = t => Pool(t).Outputs[0] + F.Cast(Pool(t).Outputs[1], t),
        ["matmul"] = t => F.MatMul(X(t, 19, 33), Y(t, 33, 5)),
        ["matmul transposed"] = t => F.MatMul(F.MatMul(X(t, 33, 19), Y(t, 33, 5), true), X(t, 7, 5), false, true),
        ["matmul batched"] = t => F.MatMul(X(t, 3, 5, 4), Y(t, 3, 5, 7), true),
        ["matmul of nothing"] = t => F.MatMul(X(t, 3, 0), Y(t, 0, 5)),
        ["linear"] = t => F.Linear(X(t, 3, 17), Y(t, 18, 17), X(t, 18)),
        ["linear relu"] = t => new LinearOp(true, new Relu()).Apply(X(t, 3, 17), Y(t, 18, 17), X(t, 18)).Outputs[0],
        ["linear residual"] = t => new LinearOp(true, null, true).Apply(X(t, 3, 17), Y(t, 18, 17), X(t, 18), Y(t, 3, 18)).Outputs[0],
        ["linear residual relu"] = t => new LinearOp(false, new Relu(), true).Apply(X(t, 3, 17), Y(t, 18, 17), Y(t, 3, 18)).Outputs[0],
        ["linear parameters"] = t => Both(Parameters(t, 19, 6, 33)),
        ["linear parameters one"] = t => Parameters(t, 1, 5, 3).Outputs[1],
        ["convolution"] = t => F.Convolution(X(t, Plane), Y(t, 4, 3, 3, 3), new ConvGeometry([1, 2], [1, 0], [1, 1], 1)),
        ["convolution groups"] = t => F.Convolution(X(t, 2, 4, 7, 6), Y(t, 6, 2, 2, 3), new ConvGeometry([2, 1], [0, 2], [2, 1], 2)),
        ["convolution_input"] = t => F.ConvolutionInput(X(t, 2, 6, 3, 8), Y(t, 6, 2, 2, 3), [2, 4, 7, 6], new ConvGeometry([2, 1], [0, 2], [2, 1], 2)),
        ["convolution_nhwc"] = t => new ConvolutionNhwcOp(Strided).Apply(X(t, 2, 7, 6, 4), Y(t, 6, 2, 3, 2)).Outputs[0],
        ["convolution_input_nhwc"] = t => new ConvolutionInputNhwcOp(Strided, [2, 7, 6, 4]).Apply(X(t, 2, 3, 8, 6), Y(t, 6, 2, 3, 2)).Outputs[0],
        ["convolution_weight_nhwc"] = t => new ConvolutionWeightNhwcOp(Strided, [6, 2, 3, 2]).Apply(X(t, 2, 3, 8, 6), Y(t, 2, 7, 6, 4)).Outputs[0],
        ["max_pool2d_nhwc"] = t => PoolNhwc(t, 8).Outputs[0] + F.Cast(PoolNhwc(t, 8).Outputs[1], t),
        ["max_pool2d_nhwc odd"] = t => PoolNhwc(t, 3).Outputs[0],
        ["max_pool2d_backward"] = t => new MaxPoolBackwardOp((MaxPoolOp)Pool(t).Op, new Shape(Plane)).Apply(Like(Pool(t).Outputs[0]), Pool(t).Outputs[1]).Outputs[0],
        ["max_pool2d_backward_nhwc"] = t => Backward(PoolNhwc(t, 8)),
        ["max_pool2d_backward_nhwc odd"] = t => Backward(PoolNhwc(t, 3)),
        ["convolution_weight"] = t => F.ConvolutionWeight(X(t, 2, 6, 3, 8), Y(t, 2, 4, 7, 6), [6, 2, 2, 3], new ConvGeometry([2, 1], [0, 2], [2, 1], 2)),
    };

    public void Dispose() => under.AssertNothingFound();

    public static TheoryData<string, DType> All() => Some(_ => true);

    public static TheoryData<string, DType> Products() => Some(name => name.StartsWith("matmul") || name.StartsWith("linear") || name.StartsWith("conv"));

    private static TheoryData<string, DType> Some(Func<string, bool> include)
    {
        var data = new TheoryData<string, DType>();
        foreach (var name in Cases.Keys.Where(include))
        {
            foreach (var dtype in new[] { DType.F32, DType.F64, DType.BF16 }) data.Add(name, dtype);
        }

        return data;
    }

    // Sums of at most a few thousand terms of size 1: a hundred roundings of the largest result cover any order; bf16 results
    // are rounded once from f32 on both sides, which may fall to neighbouring values, and once per step in a chain of ops.
    [Theory]
    [MemberData(nameof(All))]
    public void Agrees_with_the_cpu_device(string name, DType dtype) => Compare(name, dtype, under.Shared);

    // The other path of what cuBLAS, cuBLASLt and cuDNN do where they are installed.
    [Theory]
    [MemberData(nameof(Products))]
    public void Generated_products_agree_with_the_cpu_device(string name, DType dtype)
    {
        _ = under.Shared;
        using var device = DeviceUnderTest.Open(
            new CudaDeviceOptions { UseCublas = false, UseCudnn = false, KernelCacheFolder = DeviceUnderTest.CacheFolder });
        Compare(name, dtype, device);
    }

    [Theory]
    [InlineData("linear", DType.F32)]
    [InlineData("linear", DType.BF16)]
    [InlineData("linear relu", DType.F32)]
    [InlineData("linear residual", DType.BF16)]
    [InlineData("linear residual relu", DType.F32)]
    [InlineData("linear parameters", DType.F32)]
    [InlineData("linear parameters", DType.BF16)]
    [InlineData("convolution", DType.F32)]
    [InlineData("convolution_input", DType.BF16)]
    [InlineData("convolution_weight", DType.F64)]
    public void Libraries_are_used_where_they_are_installed(string name, DType dtype)
    {
        var limits = under.Shared.Limits;
        Assert.SkipUnless(limits.HasCublasLt && limits.HasCudnn, "cuBLASLt or cuDNN is not installed.");
        using var evaluation = new Evaluation(under.Shared, [new("y", Cases[name](dtype))]);
        Assert.Contains(
            ((CudaExecutable)evaluation.Executable).Kernels, k => k is ConvolutionKernel { UsesCudnn: true } or CublasProduct { UsesEpilogue: true } or ParameterGradients { UsesEpilogue: true });
    }

    [Theory]
    [InlineData("linear", DType.F32)]
    [InlineData("linear relu", DType.BF16)]
    [InlineData("linear residual", DType.F32)]
    [InlineData("linear residual relu", DType.F32)]
    public void A_second_launch_does_what_an_epilogue_does(string name, DType dtype)
    {
        var limits = under.Shared.Limits;
        Assert.SkipUnless(limits.HasCublasLt, "cuBLASLt is not installed.");
        var node = Cases[name](dtype).Node;
        var random = new System.Random(1);
        double[][] inputs = [.. node.Inputs.Select(t => Enumerable.Range(0, (int)t.Type.Elements).Select(_ => Math.Round(random.NextDouble() * 16 - 8) / 4).ToArray())];
        using var one = CudaKernels.Create(node, limits)!;
        using var two = CudaKernels.Create(node, limits with { HasCublasLt = false })!;
        // Quarters up to 2, 17 products: every sum is exact in f32, so one rounding to bf16 and two differ by less than two units.
        var (expected, actual) = (KernelRun.Outputs(under.Shared, one, inputs)[0], KernelRun.Outputs(under.Shared, two, inputs)[0]);
        Assert.All(expected.Zip(actual), p => Assert.Equal(p.First, p.Second, dtype == DType.F32 ? 0 : Math.Abs(p.First) / 64));
    }

    private static void Compare(string name, DType dtype, IDevice device)
    {
        var y = Cases[name](dtype);
        using var cpu = new CpuDevice(1);
        var expected = Run(cpu, y);
        var actual = Run(device, y);
        var largest = expected.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty(1).Max();
        var allowed = largest * (dtype == DType.BF16 ? 4 * Math.Pow(2, -8) : 100 * (dtype == DType.F32 ? Math.Pow(2, -24) : Math.Pow(2, -53)));
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.True(
                expected[i].Equals(actual[i]) || Math.Abs(expected[i] - actual[i]) <= allowed,
                $"{name} {dtype} [{i}]: {actual[i]:R} instead of {expected[i]:R}, allowed {allowed:E1}");
        }
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(1023, 7)]
    [InlineData(4096, int.MaxValue)]
    public void Random_numbers_are_the_cpu_devices_bits(int count, int stream)
    {
        var y = F.RandomUniform(F.Literal([2], DType.I64, 1L << 40, 12345), [count], DType.F32, stream);
        using var cpu = new CpuDevice(1);
        Assert.Equal(Run(cpu, y), Run(under.Shared, y));
    }

    private static Tensor X(DType dtype, params int[] shape) => F.Input($"x{string.Join('_', shape)}", dtype, new Shape(shape));

    private static Tensor Y(DType dtype, params int[] shape) => F.Input($"y{string.Join('_', shape)}", dtype, new Shape(shape));

    /// <summary>Indices of which some lie outside.</summary>
    private static Tensor Index(int count, params int[] shape) => F.Input($"i{count}_{string.Join('_', shape)}", DType.I64, new Shape(shape));

    private static ConvGeometry Strided => new([2, 1], [0, 2], [2, 1], 2);

    private static Node PoolNhwc(DType dtype, int channels) =>
        new MaxPoolNhwcOp(new MaxPoolOp([3, 2], [2, 1], [1, 1], [1, 2], true)).Apply(X(dtype, 2, 9, 8, channels));

    private static Tensor Backward(Node pool) =>
        new MaxPoolBackwardNhwcOp(((MaxPoolNhwcOp)pool.Op).Of, pool.Inputs[0].Shape).Apply(Like(pool.Outputs[0]), pool.Outputs[1]).Outputs[0];

    private static Tensor Like(Tensor t) => F.Input($"g{t.Shape}", t.DType, t.Shape);

    /// <summary>Both gradients in one tensor.</summary>
    private static Tensor Both(Node node) => F.Concat([node.Outputs[0], F.Reshape(node.Outputs[1], [node.Outputs[1].Shape[0], 1])], 1);

    private static Node Parameters(DType dtype, int rows, int outputs, int inputs) =>
        new LinearParametersBackwardOp().Apply(X(dtype, rows, outputs), Y(dtype, rows, inputs));

    private static Node Pool(DType dtype) => new MaxPoolOp([3, 2], [2, 1], [1, 1], [1, 2], true).Apply(X(dtype, Plane));

    /// <summary>Two tensors of one name in a case are meant to be one input.</summary>
    internal static (Tensor Y, Dictionary<string, Tensor> Inputs) JoinInputs(Tensor y)
    {
        var known = new Dictionary<string, Tensor>();
        var map = Traversal.Rewrite([y], (node, inputs) => node.Op is InputOp input
            ? [known.TryGetValue(input.InputName, out var same) ? same : known[input.InputName] = node.Outputs[0]]
            : null);
        return (map[y], known);
    }

    private static double[] Run(IDevice device, Tensor y)
    {
        var (joined, known) = JoinInputs(y);
        using var evaluation = new Evaluation(device, [new("y", joined)]);
        foreach (var (name, input) in known)
        {
            var random = new System.Random(name.Length + (int)input.Type.Elements);
            var values = new double[input.Type.Elements];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = name[0] == 'i'
                    ? random.Next(-1, int.Parse(name[1..name.IndexOf('_')]))
                    : Math.Round((random.NextDouble() * 2 - 1) * 64) / 32;
            }

            evaluation.Set(name, values);
        }

        evaluation.Run();
        var first = evaluation.Get("y");
        // Once more: the second run is replayed.
        evaluation.Run();
        Assert.Equal(first, evaluation.Get("y"));
        return first;
    }
}
