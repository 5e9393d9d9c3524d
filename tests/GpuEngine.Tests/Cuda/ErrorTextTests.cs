using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class ErrorTextTests
{
    private static readonly KernelSource Source = new(
        "batch_norm.cu", "line one\n  float y = x;\n", new Dictionary<string, string> { ["common/a.cuh"] = "bad header line\n" });

    [Theory]
    [InlineData("batch_norm.cu(2): error: identifier \"x\" is undefined\n", "batch_norm.cu", 2, "identifier \"x\" is undefined")]
    [InlineData("note\nbatch_norm.cu(2): catastrophic error: no \"y.h\"\n", "batch_norm.cu", 2, "no \"y.h\"")]
    [InlineData("batch_norm.cu:2:13: error: 'x' was not declared\n", "batch_norm.cu", 2, "'x' was not declared")]
    [InlineData("batch_norm.cu:2: fatal error: no y.h\n", "batch_norm.cu", 2, "no y.h")]
    [InlineData("batch_norm.cu(1): warning: w\ncommon/a.cuh(1): error #20: e\n", "common/a.cuh", 1, "e")]
    public void A_compile_error_names_file_line_and_text(string log, string file, int line, string error)
    {
        var exception = new KernelCompileException(Source, "NVRTC_ERROR_COMPILATION", ["--fmad=true", "-x"], "NVRTC 12.8", log);
        Assert.Equal((file, line, error), (exception.File, exception.Line, exception.Error));
        Assert.StartsWith($"{file}({line}): {error}", exception.Message);
        Assert.Contains("--fmad=true -x", exception.Message);
        Assert.Contains("NVRTC 12.8", exception.Message);
        Assert.Contains(log.TrimEnd(), exception.Message);
        Assert.Contains(line == 2 ? "float y = x;" : "bad header line", exception.Message);
    }

    [Fact]
    public void A_failure_without_a_line_shows_its_status()
    {
        var exception = new KernelCompileException(Source, "NVRTC_ERROR_INVALID_OPTION", ["-q"], "NVRTC 12.8", "unknown option -q");
        Assert.Equal(("batch_norm.cu", 0), (exception.File, exception.Line));
        Assert.StartsWith("batch_norm.cu did not compile: NVRTC_ERROR_INVALID_OPTION", exception.Message);
        Assert.Contains("unknown option -q", exception.Message);
    }

    [Fact]
    public void Out_of_memory_says_what_was_asked_for_and_what_is_free()
    {
        var exception = new OutOfDeviceMemoryException("GPU 0", "activations", 5L << 30, 1536L << 20, 80L << 30);
        Assert.Equal(
            "Out of device memory on GPU 0: 5.00 GiB were asked for (activations), 1.50 GiB of 80.00 GiB are free.",
            exception.Message);
        Assert.EndsWith("are free. Halve the batch.", exception.WithAdvice("Halve the batch.").Message);
        Assert.Equal(5L << 30, exception.WithAdvice("x").RequestedBytes);
    }

    [Theory]
    [InlineData(0, "0 bytes")]
    [InlineData(1023, "1023 bytes")]
    [InlineData(1024, "1.00 KiB")]
    [InlineData(3L << 40, "3.00 TiB")]
    public void Sizes_use_binary_units(long bytes, string expected) =>
        Assert.Equal(expected, OutOfDeviceMemoryException.Size(bytes));

    [Fact]
    public void A_success_throws_nothing_and_a_failure_carries_the_call()
    {
        CUresult.CUDA_SUCCESS.ThrowIfFailed();
        var exception = Assert.Throws<CudaException>(() => Failing(
            1, 2).ThrowIfFailed());
        Assert.Equal("Failing( 1, 2)", exception.Call);
        Assert.Equal(700, exception.Code);
        Assert.Equal("CUDA_ERROR_ILLEGAL_ADDRESS", exception.Name);
        Assert.StartsWith("Failing( 1, 2) failed: CUDA_ERROR_ILLEGAL_ADDRESS (CUDA driver status 700)", exception.Message);

        static CUresult Failing(int a, int b) => a < b ? CUresult.CUDA_ERROR_ILLEGAL_ADDRESS : CUresult.CUDA_SUCCESS;
    }

    [Fact]
    public void A_status_this_build_does_not_know_keeps_its_number()
    {
        var exception = Assert.Throws<CudaException>(() => ((CUresult)4321).ThrowIfFailed("f()"));
        Assert.Equal(4321, exception.Code);
        Assert.Contains("4321", exception.Message);
    }

    [Fact]
    public void Recent_launches_are_named_newest_first_and_only_the_last_eight()
    {
        var recent = new RecentLaunches();
        Assert.Equal("Nothing was launched on this stream.", recent.Describe());
        for (var i = 0; i < 11; i++)
            recent.Add($"k{i}");
        Assert.Contains("k10, k9, k8, k7, k6, k5, k4, k3.", recent.Describe());
        Assert.Contains("GPUENGINE_SYNC_LAUNCHES=1", recent.Describe());
    }

    [Theory]
    [InlineData(0, 11040, "CUDA 11.4")]
    [InlineData(100, 12080, "finds no device")]
    [InlineData(34, 12080, "stub")]
    [InlineData(803, 12080, "kernel module")]
    [InlineData(802, 12080, "fabricmanager")]
    public void A_start_that_the_user_can_mend_says_how(int status, int driver, string expected)
    {
        var advice = CudaDevices.StartAdvice((CUresult)status, driver);
        Assert.Contains(expected, advice);
        Assert.EndsWith(".", advice);
    }

    [Fact]
    public void A_good_start_has_no_advice() => Assert.Null(CudaDevices.StartAdvice(CUresult.CUDA_SUCCESS, 12000));
}
