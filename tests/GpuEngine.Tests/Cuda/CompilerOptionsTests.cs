using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>The spellings are those of the option list in nvrtc.h of CUDA 12.6.</summary>
public class CompilerOptionsTests
{
    [Fact]
    public void Defaults() => Assert.Equal(
        [
            "--gpu-architecture=sm_90", "--std=c++17", "--device-as-default-execution-space", "--fmad=true",
            "--generate-line-info",
        ],
        new CompilerOptions().ToArguments("sm_90"));

    [Fact]
    public void Each_setting_has_its_option()
    {
        Assert.Contains("--gpu-architecture=compute_80", new CompilerOptions().ToArguments("compute_80"));
        Assert.Contains("--std=c++20", Arguments(new() { Standard = 20 }));
        Assert.Contains("--use_fast_math", Arguments(new() { FastMath = true }));
        Assert.DoesNotContain("--use_fast_math", Arguments(new()));
        Assert.Contains("--fmad=false", Arguments(new() { Fma = false }));
        Assert.DoesNotContain("--generate-line-info", Arguments(new() { LineInfo = false }));
        Assert.Contains("--maxrregcount=64", Arguments(new() { MaxRegisters = 64 }));
        Assert.Equal("--dopt=on", Arguments(new() { Extra = ["--dopt=on"] })[^1]);
    }

    [Fact]
    public void Defines_keep_their_order()
    {
        var options = new CompilerOptions { Defines = [("T", "float"), ("N", "4"), ("A", "x y")] };
        Assert.Equal(
            ["--define-macro=T=float", "--define-macro=N=4", "--define-macro=A=x y"],
            Arguments(options).Where(a => a.StartsWith("--define")));
    }

    [Theory]
    [InlineData(0f, "0.0f")]
    [InlineData(1f, "1.0f")]
    [InlineData(-2.5f, "-2.5f")]
    [InlineData(0.1f, "0.1f")]
    [InlineData(1e-5f, "1E-05f")]
    [InlineData(3.4028235e38f, "3.4028235E+38f")]
    [InlineData(float.PositiveInfinity, "(1.0f/0.0f)")]
    [InlineData(float.NegativeInfinity, "(-1.0f/0.0f)")]
    [InlineData(float.NaN, "(0.0f/0.0f)")]
    public void Constants_are_exact_floats(float value, string expected)
    {
        Assert.Equal(expected, CompilerOptions.Constant(value));
        if (float.IsFinite(value))
            Assert.Equal(value, float.Parse(expected.TrimEnd('f')));
    }

    private static IReadOnlyList<string> Arguments(CompilerOptions options) => options.ToArguments("sm_90");
}
