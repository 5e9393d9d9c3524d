using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Lab.Kernels;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Names of kernels on the command line, and what can be said of kernels without a GPU.</summary>
public class KernelSelectionTests
{
    [Fact]
    public void An_op_a_file_and_an_entry_are_names()
    {
        var op = KernelSelection.Of("layer_norm");
        Assert.Equal(["layer_norm"], op.Ops.Select(o => o.Name));
        Assert.Contains(op.Kernels, k => k.Entry == "row_norm_backward");
        Assert.DoesNotContain(op.Kernels, k => k.File == "softmax.cu");
        var file = KernelSelection.Of("row_norm");
        Assert.Contains("group_norm", file.Ops.Select(o => o.Name));
        Assert.All(file.Kernels, k => Assert.Equal("row_norm.cu", k.File));
        var entry = KernelSelection.Of("dropout_naive");
        Assert.Equal("dropout_naive", Assert.Single(entry.Kernels).Entry);
        Assert.Equal(["dropout"], entry.Ops.Select(o => o.Name));
        Assert.Equal(["permute"], KernelSelection.Of("transpose").Ops.Select(o => o.Name));
    }

    [Fact]
    public void An_unknown_name_is_told_the_nearest()
    {
        var error = Assert.Throws<UserException>(() => KernelSelection.Of("row_nrom"));
        Assert.Contains("Did you mean 'row_norm'?", error.Message);
    }

    [Fact]
    public void A_launcher_tells_what_it_chooses_among()
    {
        var node = new Asking().Apply(F.Input("x", DType.F32, [4]));
        CudaKernels.Register<Asking>((n, limits) =>
        {
            var threads = limits.Tuned("threads", 256);
            if (limits.Allows("one_read") && threads > 0) return null;
            return limits.Allows("two_read") ? null : null;
        });
        var choices = LauncherChoices.Of(node, new CudaLimits());
        // Its own first, then those that launchers may know without asking.
        Assert.Equal(["one_read", "two_read", "small", "naive"], choices.Variants);
        Assert.Equal(256, choices.Numbers["threads"]);
    }

    [Fact]
    public void Ptx_tells_shared_and_local_bytes_of_the_entry_alone()
    {
        const string Ptx = """
            .weak .shared .align 4 .b8 mine[256];
            .weak .shared .align 4 .u32 counter;
            .weak .shared .align 4 .b8 others[1024];
            .visible .entry first(
            )
            .maxntid 512, 1, 1
            {
            	.local .align 16 .b8 	__local_depot0[48];
            	st.shared.f32 	[mine+4], %f1;
            	st.shared.u32 	[counter], %r1;
            }
            .visible .entry second(
            )
            {
            	st.shared.f32 	[others], %f1;
            }
            """;
        Assert.Equal((260, 48, 512), KernelStatistics.Read(Ptx, "first"));
        Assert.Equal((1024, 0, 0), KernelStatistics.Read(Ptx, "second"));
        Assert.Equal((0, 0, 0), KernelStatistics.Read(Ptx, "third"));
    }

    private sealed record Asking : Op
    {
        public override string Name => "asking";

        public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [inputs[0]];

        public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [null];
    }
}
