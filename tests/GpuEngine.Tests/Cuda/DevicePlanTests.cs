using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Plans for CUDA devices: pure, so these run without a driver or a simulator.</summary>
public class DevicePlanTests
{
    private static readonly Tensor X = F.Input("x", DType.F32, [6, 5]);
    private static readonly Tensor Row = F.Input("row", DType.F32, [5]);

    [Fact]
    public void A_chain_of_element_wise_ops_is_one_launch_and_its_constants_are_literals()
    {
        var launches = Plan(F.Exp(X * 2 + Row) / 3 - 1);
        var region = Assert.IsType<ElementwiseRegionOp>(Assert.Single(launches).Node.Op);
        Assert.Equal(2, region.Program.Inputs.Count);
        Assert.Equal(8, region.Program.Steps.Count);
    }

    [Fact]
    public void A_value_that_two_chains_of_one_region_read_is_computed_once()
    {
        var e = F.Exp(X);
        var region = (ElementwiseRegionOp)Assert.Single(Plan(e * F.Sin(e) + e)).Node.Op;
        Assert.Single(region.Program.Steps, s => s.Op is UnaryOp { Kind: UnaryKind.Exp });
    }

    [Fact]
    public void A_value_that_leaves_the_region_is_stored()
    {
        var e = F.Exp(X);
        var launches = Planner.Plan(new TensorProgram("test", [new("e", e), new("y", F.Sin(e) + 1)]), Target()).Launches;
        Assert.Equal(2, launches.Count);
        Assert.Equal(2, Plan(F.Sum(e, [0]) * 2).Count(l => l.Node.Op is ElementwiseRegionOp));
    }

    [Fact]
    public void A_smaller_operand_is_computed_at_its_own_size()
    {
        // The square root of the row is taken 5 times, not 30.
        var launches = Plan(X / F.Sqrt(Row));
        Assert.Equal(2, launches.Count);
        Assert.Equal(new Shape(5), launches[0].Node.Outputs[0].Shape);
    }

    [Fact]
    public void A_variables_new_value_is_written_over_the_old_one()
    {
        var weight = new Variable("weight", DType.F32, [6, 5], MemoryClass.Weights);
        var plan = Planner.Plan(new TensorProgram("test", [], [new(weight, X * -0.1 + weight.Value)]), Target());
        Assert.Equal(new Placement(weight, MemoryClass.Weights, 0), Assert.Single(plan.Launches).Outputs[0]);
    }

    [Fact]
    public void Gradients_that_meet_behind_an_activation_are_added_by_its_launch()
    {
        var g = F.Input("g", DType.F32, [6, 5]);
        Tensor Backward(Tensor x) => new ActivationBackwardOp(new Gelu()).Apply(g, x).Outputs[0];
        Assert.True(Assert.IsType<BiasActBackwardOp>(Assert.Single(Plan(X + Backward(X))).Node.Op).Adds);
        Assert.Equal(2, Plan(Backward(X) + Backward(X * 1.5)).Count(l => l.Node.Op is ActivationBackwardOp or BiasActBackwardOp));
        // Its own value is wanted too, or the bias's gradient is read before the sum.
        var dx = Backward(X);
        Assert.DoesNotContain(
            Planner.Plan(new TensorProgram("test", [new("dx", dx), new("y", dx + X)]), Target()).Launches, l => l.Node.Op is BiasActBackwardOp);
        var node = new BiasActBackwardOp(new Relu(), null, 1, true, false).Apply(g, X, Row);
        Assert.DoesNotContain(Plan(node.Outputs[0] + (X + F.Exp(node.Outputs[1]))), l => l.Node.Op is BiasActBackwardOp { Adds: true });
        Assert.Contains(
            Planner.Plan(new TensorProgram("test", [new("y", node.Outputs[0] + X), new("b", node.Outputs[1])]), Target()).Launches,
            l => l.Node.Op is BiasActBackwardOp { Adds: true });
    }

    [Fact]
    public void Regions_stop_where_the_arguments_of_a_launch_do()
    {
        var sum = X;
        for (var i = 0; i < 40; i++) sum += F.Input($"x{i}", DType.F32, [6, 5]);
        var launches = Plan(sum);
        Assert.All(launches, l => Assert.InRange(l.Node.Inputs.Count, 1, 12));
        Assert.InRange(launches.Count, 4, 5);
    }

    [Fact]
    public void Shapes_of_one_kind_share_a_kernel()
    {
        KernelRequest Request(params int[] shape) =>
            Assert.Single(CudaKernels.Create(F.Exp(F.Input("x", DType.F32, new Shape(shape))).Node, new CudaLimits())!.Requests);
        Assert.Equal(Request(7).ImageKey, Request(1000, 3).ImageKey);
        KernelRequest Broadcast(int rows, int columns) => Assert.Single(
            CudaKernels.Create((F.Input("x", DType.F32, [rows, columns]) + F.Input("y", DType.F32, [rows, 1])).Node, new CudaLimits())!.Requests);
        Assert.Equal(Broadcast(3, 4).ImageKey, Broadcast(50, 60).ImageKey);
    }

    [Fact]
    public void Tensors_beyond_two_to_the_31_elements_are_indexed_in_64_bits()
    {
        string Text(int rows) => CudaKernels.Create(
            (F.Input("x", DType.F32, [rows, 1024]) + F.Input("y", DType.F32, [rows, 1])).Node, new CudaLimits())!.Requests[0].GeneratedText!;
        Assert.Contains("u32 rest", Text(1 << 20));
        Assert.Contains("i64 rest", Text(1 << 22));
    }

    [Theory]
    [InlineData(100, 4_000_000, 1)]
    [InlineData(100, 40, 0)]
    [InlineData(100_000, 5000, 0)]
    public void Only_few_long_sums_are_cut_into_pieces(int rows, int columns, int cut)
    {
        var kernel = CudaKernels.Create(F.Sum(F.Input("x", DType.F32, [rows, columns]), [1]).Node, new CudaLimits())!;
        Assert.Equal(1 + cut, kernel.Requests.Count);
        Assert.Equal(cut == 1, kernel.WorkspaceBytes > 0);
        // What is computed must not depend on the device, or results would.
        var small = CudaKernels.Create(kernel.Node, new CudaLimits { Multiprocessors = 4 })!;
        Assert.Equal(kernel.WorkspaceBytes, small.WorkspaceBytes);
        Assert.Equal(kernel.Requests.Select(r => r.ImageKey), small.Requests.Select(r => r.ImageKey));
    }

    [Fact]
    public void A_plan_for_a_GPU_is_made_without_one()
    {
        var target = new CudaPlanTarget(new CudaLimits { HasCublas = true }, new CudaDeviceOptions());
        var plan = Planner.Plan(new TensorProgram("test", [new("y", F.MatMul(X, X, transposeB: true))]), target);
        Assert.Equal(32L << 20, plan.ArenaBytes[MemoryClass.Workspace]);
    }

    private static CudaPlanTarget Target() => new(new CudaLimits(), new CudaDeviceOptions());

    private static IReadOnlyList<Launch> Plan(Tensor y) => Planner.Plan(new TensorProgram("test", [new("y", y)]), Target()).Launches;
}
