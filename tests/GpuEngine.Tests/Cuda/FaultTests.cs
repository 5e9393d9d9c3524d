using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Errors of the device, injected by the simulator.</summary>
public sealed class FaultTests : DeviceTests
{
    private const string Kernels = """
        extern "C" __global__ void first(float* x) { x[threadIdx.x] = 1; }
        extern "C" __global__ void second(float* x) { x[threadIdx.x] = 2; }
        extern "C" __global__ void outside(float* x) { x[-(1 << 20)] = 3; }
        """;

    private readonly List<string> _armed = [];

    public FaultTests() => CudaUnderTest.RequireSimulator();

    public override void Dispose()
    {
        foreach (var option in _armed)
            _ = Cudasim.cudasim_set_option(option, option == "fail_alloc_above" ? "-1" : "0");
        base.Dispose();
        Cudasim.cudasim_findings_clear();
    }

    [Theory]
    [InlineData("illegal_address_at", "CUDA_ERROR_ILLEGAL_ADDRESS")]
    [InlineData("ecc_at", "CUDA_ERROR_ECC_UNCORRECTABLE")]
    [InlineData("fail_launch_at", "CUDA_ERROR_LAUNCH_FAILED")]
    public void An_error_in_mid_run_lists_the_last_launches(string fault, string name)
    {
        using var module = Load(Kernels);
        using var memory = Context.Allocate(128, "test");
        Inject(fault, 3);
        var error = Assert.Throws<CudaException>(() =>
        {
            for (var i = 0; i < 2; i++)
            {
                Launch(module, "first", memory, Stream);
                Launch(module, "second", memory, Stream);
            }

            Stream.Synchronize();
        });
        Assert.Equal(name, error.Name);
        Assert.Contains("newest first: ", error.Message);
        Assert.Contains("first", error.Message);
        Assert.Contains(CudaContext.SyncLaunchesVariable, error.Message);
    }

    [Fact]
    public void Waiting_for_every_launch_names_the_one_that_failed()
    {
        using var context = CudaContext.Open(syncLaunches: true);
        using var stream = context.CreateStream();
        using var module = Load(Kernels, context: context);
        using var memory = context.Allocate(128, "test");
        Inject("illegal_address_at", 2);
        Launch(module, "first", memory, stream);
        var error = Assert.Throws<CudaException>(() => Launch(module, "second", memory, stream));
        Assert.StartsWith("Kernel second (grid (1, 1, 1), block (32, 1, 1)", error.Message);
        Assert.Contains("CUDA_ERROR_ILLEGAL_ADDRESS", error.Message);
    }

    [Fact]
    public void Waiting_for_every_launch_does_not_disturb_a_capture()
    {
        using var context = CudaContext.Open(syncLaunches: true);
        using var stream = context.CreateStream();
        using var module = Load(Kernels, context: context);
        using var memory = context.Allocate(128, "test");
        using var capture = stream.BeginCapture();
        Launch(module, "first", memory, stream);
        using var graph = capture.End();
        Assert.Equal(1, graph.NodeCount);
    }

    [Fact]
    public void After_an_error_everything_can_still_be_disposed_and_a_new_context_works()
    {
        using (var context = CudaContext.Open())
        using (var stream = context.CreateStream())
        using (var module = Load(Kernels, context: context))
        using (var memory = context.Allocate(128, "test"))
        {
            Inject("ecc_at", 1);
            Assert.Throws<CudaException>(() =>
            {
                Launch(module, "first", memory, stream);
                stream.Synchronize();
            });
        }

        using var fresh = CudaContext.Open();
        using var values = fresh.Allocate(4, "test");
        using var queue = fresh.CreateStream();
        queue.Fill(values.Span<int>(), 9);
        var back = new int[1];
        queue.CopyToHost(values.Span<int>(), back.AsSpan());
        Assert.Equal([9], back);
    }

    [Fact]
    public void An_allocation_that_fails_says_what_it_was_for()
    {
        Inject("fail_alloc_at", 2);
        using var first = Context.Allocate(1 << 20, "weights");
        var error = Assert.Throws<OutOfDeviceMemoryException>(() => Context.Allocate(2 << 20, "activations"));
        Assert.Contains("2.00 MiB were asked for (activations)", error.Message);
        using var third = Context.Allocate(1 << 20, "weights");
    }

    [Fact]
    public void A_failure_inside_the_compiler_is_no_syntax_error()
    {
        Inject("nvrtc_internal_error", 1);
        var error = Assert.Throws<KernelCompileException>(() => Load(Kernels));
        Assert.Equal("NVRTC_ERROR_INTERNAL_ERROR", error.Status);
        Assert.StartsWith("test.cu did not compile: NVRTC_ERROR_INTERNAL_ERROR", error.Message);
    }

    [Fact]
    public void A_lost_peer_is_an_error_of_the_copy()
    {
        using var other = CudaContext.Open(1);
        using var there = other.Allocate(64, "test");
        using var here = Context.Allocate(64, "test");
        Stream.CopyFromPeer<int>(other, there.Span<int>(), here.Span<int>());
        Stream.Synchronize();
        Assert.True(Context.TryEnablePeerAccess(other));
        Assert.True(Context.TryEnablePeerAccess(other));
        Inject("lost_peer", 1);
        Assert.Throws<CudaException>(() =>
        {
            Stream.CopyFromPeer<int>(other, there.Span<int>(), here.Span<int>());
            Stream.Synchronize();
        });
        Assert.False(Context.TryEnablePeerAccess(other));
    }

    private static void Launch(CudaModule module, string kernel, DeviceMemory memory, CudaStream stream)
    {
        var arguments = new KernelArguments();
        arguments.Add(memory.Span<float>());
        module.Function(kernel).Launch(stream, new(1, 32), ref arguments);
    }

    private void Inject(string option, int value)
    {
        _armed.Add(option);
        Assert.Equal(0, Cudasim.cudasim_set_option(option, value.ToString()));
    }
}
