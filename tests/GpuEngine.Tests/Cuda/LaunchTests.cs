using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class LaunchTests : DeviceTests
{
    private const string Kernels = """
        extern "C" __global__ void scale(float* y, const float* x, int n, float factor)
        {
            const int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) y[i] = factor * x[i];
        }

        __device__ int counter = 41;
        extern "C" __global__ void count() { counter += 1; }

        struct Mixed { double d; short s; };
        extern "C" __global__ void mixed(double* out, unsigned char a, short b, Mixed m, long long c, float f)
        {
            out[0] = a; out[1] = b; out[2] = m.d; out[3] = m.s; out[4] = (double)c; out[5] = f;
        }

        extern "C" __global__ void reverse(int* x)
        {
            extern __shared__ int tile[];
            const int i = threadIdx.x, n = blockDim.x;
            tile[i] = x[i];
            __syncthreads();
            x[i] = tile[n - 1 - i];
        }

        extern "C" __global__ void grid3(int* out)
        {
            const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
            const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
            out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block * 1000 + thread;
        }

        extern "C" __global__ void nothing() {}
        """;

    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(256)]
    [InlineData(1000)]
    public void A_kernel_runs_over_every_element(int n)
    {
        var x = Enumerable.Range(0, n).Select(i => (float)i).ToArray();
        using var module = Load(Kernels);
        using var input = Upload(x);
        using var output = Context.Allocate(input.Bytes, "output");
        Scale(module, output, input, n, 3);
        Assert.Equal(x.Select(v => 3 * v), Download<float>(output));
    }

    [Fact]
    public void Arguments_of_every_size_arrive()
    {
        using var module = Load(Kernels);
        using var output = Context.Allocate(6 * sizeof(double), "output");
        var arguments = new KernelArguments();
        arguments.Add(output.Span<double>());
        arguments.Add((byte)200);
        arguments.Add((short)-5);
        arguments.Add(new Mixed { D = 1e100, S = -7 });
        arguments.Add(1L << 40);
        arguments.Add(0.25f);
        module.Function("mixed").Launch(Stream, new(1, 1), ref arguments);
        Assert.Equal([200, -5, 1e100, -7, 1L << 40, 0.25], Download<double>(output));
    }

    [Fact]
    public void Grids_and_blocks_have_three_dimensions()
    {
        using var module = Load(Kernels);
        using var output = Context.Allocate(2 * 3 * 4 * 24 * sizeof(int), "output");
        var arguments = new KernelArguments();
        arguments.Add(output.Span<int>());
        module.Function("grid3").Launch(Stream, new(new(2, 3, 4), new(4, 3, 2)), ref arguments);
        Assert.Equal(
            Enumerable.Range(0, 24).SelectMany(b => Enumerable.Range(0, 24).Select(t => b * 1000 + t)), Download<int>(output));
    }

    [Fact]
    public void Dynamic_shared_memory_is_as_large_as_asked_for()
    {
        using var module = Load(Kernels);
        using var memory = Upload(Enumerable.Range(0, 64).ToArray());
        var arguments = new KernelArguments();
        arguments.Add(memory.Span<int>());
        module.Function("reverse").Launch(Stream, new(1, 64, 64 * sizeof(int)), ref arguments);
        Assert.Equal(Enumerable.Range(0, 64).Reverse(), Download<int>(memory));
    }

    [Fact]
    public void More_shared_memory_than_the_device_has_is_refused_with_the_limit()
    {
        using var module = Load(Kernels);
        var limit = Context.Properties.SharedBytesPerBlockOptIn;
        module.Function("reverse").AllowDynamicShared(limit);
        var error = Assert.Throws<CudaException>(() => module.Function("reverse").AllowDynamicShared(limit + 1));
        Assert.Contains(limit.ToString(), error.Message);
        Assert.Contains("reverse", error.Message);
    }

    [Fact]
    public void Cooperative_and_cluster_launches_run()
    {
        using var module = Load(Kernels);
        var nothing = module.Function("nothing");
        var arguments = new KernelArguments();
        nothing.Launch(Stream, new(2, 32) { Cooperative = true }, ref arguments);
        if (Context.Properties.SupportsClusters)
        {
            var shape = new LaunchShape(4, 32) { Cluster = 2 };
            Assert.True(nothing.MaxActiveClusters(shape) > 0);
            nothing.Launch(Stream, shape, ref arguments);
        }

        Stream.Synchronize();
        Assert.True(nothing.MaxActiveBlocksPerMultiprocessor(32, 0) > 0);
    }

    [Fact]
    public void A_launch_that_cannot_be_names_the_kernel_and_its_shape()
    {
        using var module = Load(Kernels);
        var error = Assert.Throws<CudaException>(() =>
        {
            var arguments = new KernelArguments();
            module.Function("nothing").Launch(Stream, new(1, 2048), ref arguments);
        });
        Assert.Contains("kernel nothing (grid (1, 1, 1), block (2048, 1, 1)", error.Message);
        Assert.Contains($"{Context.Properties.SharedBytesPerBlockOptIn} bytes of shared memory per block", error.Message);
    }

    [Fact]
    public void Globals_and_functions_are_found_by_name()
    {
        using var module = Load(Kernels);
        Assert.Same(module.Function("count"), module.Function("count"));
        var arguments = new KernelArguments();
        module.Function("count").Launch(Stream, new(1, 1), ref arguments);
        var value = new byte[4];
        Stream.CopyToHost(module.Global("counter"), value.AsSpan());
        Assert.Equal(42, BitConverter.ToInt32(value));

        var error = Assert.Throws<CudaException>(() => module.Function("cuont"));
        Assert.Equal("CUDA_ERROR_NOT_FOUND", error.Name);
        Assert.Contains("\"cuont\" in test.cu", error.Message);
    }

    [Fact]
    public void A_launch_allocates_nothing()
    {
        using var module = Load(Kernels);
        using var memory = Upload(new float[32]);
        var function = module.Function("scale");
        for (var i = 0; i < 50; i++)
            Launch();
        Stream.Synchronize();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 200; i++)
            Launch();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Stream.Synchronize();

        void Launch()
        {
            var arguments = new KernelArguments();
            arguments.Add(memory.Span<float>());
            arguments.Add(memory.Span<float>());
            arguments.Add(32);
            arguments.Add(1f);
            function.Launch(Stream, new(1, 32), ref arguments);
        }
    }

    [Fact]
    public void A_module_that_is_gone_is_not_launched()
    {
        var module = Load(Kernels);
        var function = module.Function("nothing");
        module.Dispose();
        Assert.Throws<ObjectDisposedException>(() =>
        {
            var arguments = new KernelArguments();
            function.Launch(Stream, new(1, 1), ref arguments);
        });
    }

    [Fact]
    public void An_image_that_is_none_is_refused_by_name()
    {
        var image = new CompiledKernel("broken.cu", "sm_90", new byte[64], "");
        var error = Assert.Throws<CudaException>(() => Context.LoadModule(image));
        Assert.Contains("broken.cu for sm_90", error.Message);
    }

    [Fact]
    public void A_captured_graph_replays_what_was_recorded()
    {
        using var module = Load(Kernels);
        using var memory = Upload(1f, 2f, 3f);
        CudaGraph graph;
        using (var capture = Stream.BeginCapture())
        {
            Assert.True(Stream.IsCapturing);
            Scale(module, memory, memory, 3, 2);
            Scale(module, memory, memory, 3, 5);
            graph = capture.End();
        }

        Assert.False(Stream.IsCapturing);
        Assert.Equal(2, graph.NodeCount);
        // Recording runs nothing.
        Assert.Equal([1f, 2f, 3f], Download<float>(memory));
        using var exec = graph.Instantiate("two scales");
        exec.Upload(Stream);
        exec.Launch(Stream);
        Assert.Equal([10f, 20f, 30f], Download<float>(memory));
        exec.Launch(Stream);
        Assert.Equal([100f, 200f, 300f], Download<float>(memory));

        using var update = Record(3);
        Assert.True(exec.TryUpdate(update, out _));
        exec.Launch(Stream);
        Assert.Equal([900f, 1800f, 2700f], Download<float>(memory));

        using var longer = Record(1, 1, 1);
        Assert.False(exec.TryUpdate(longer, out var reason));
        Assert.Contains("CHANGED", reason);
        graph.Dispose();

        CudaGraph Record(params float[] factors)
        {
            using var capture = Stream.BeginCapture(CaptureMode.Relaxed);
            foreach (var factor in factors.Length == 1 ? [factors[0], factors[0]] : factors)
                Scale(module, memory, memory, 3, factor);
            return capture.End();
        }
    }

    [Fact]
    public void A_capture_that_is_left_by_an_exception_leaves_the_stream_usable()
    {
        using var module = Load(Kernels);
        using var memory = Upload(1f, 2f, 3f);
        Stream.Synchronize();
        Assert.Throws<NotImplementedException>(RecordHalf);
        Assert.False(Stream.IsCapturing);
        Scale(module, memory, memory, 3, 4);
        Assert.Equal([4f, 8f, 12f], Download<float>(memory));

        void RecordHalf()
        {
            using var capture = Stream.BeginCapture();
            Scale(module, memory, memory, 3, 2);
            throw new NotImplementedException();
        }
    }

    [Fact]
    public void A_capture_ends_once()
    {
        using var capture = Stream.BeginCapture();
        capture.End().Dispose();
        Assert.Throws<ObjectDisposedException>(() => { _ = capture.End(); });
    }

    private void Scale(CudaModule module, DeviceMemory output, DeviceMemory input, int n, float factor)
    {
        var arguments = new KernelArguments();
        arguments.Add(output.Span<float>());
        arguments.Add((ReadOnlyDeviceSpan<float>)input.Span<float>());
        arguments.Add(n);
        arguments.Add(factor);
        module.Function("scale").Launch(Stream, new((n + 127) / 128, 128), ref arguments);
    }

    private struct Mixed
    {
        public double D;
        public short S;
    }
}
