using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class CompileTests : DeviceTests
{
    [Fact]
    public void The_compiler_knows_the_device()
    {
        Assert.Equal($"sm_{Context.Properties.Architecture}", Compiler.TargetFor(Context.Properties));
        Assert.NotEmpty(Compiler.Identity);
        Assert.True(Compiler.Version.Major >= 12);
    }

    [Fact]
    public void Defines_and_headers_reach_the_kernel()
    {
        var source = new KernelSource(
            "k.cu", "#include \"common/answer.cuh\"\nextern \"C\" __global__ void k(int* x) { x[0] = answer() + OFFSET; }\n",
            new Dictionary<string, string>
            {
                ["common/answer.cuh"] = "#include \"common/base.cuh\"\n__device__ inline int answer() { return BASE; }\n",
                ["common/base.cuh"] = "#define BASE 40\n",
            });
        var target = Compiler.TargetFor(Context.Properties);
        var options = new CompilerOptions { Defines = [("OFFSET", "2")] }.ToArguments(target);
        using var module = Context.LoadModule(Compiler.Compile(source, options, target));
        using var memory = Context.Allocate(sizeof(int), "test");
        var arguments = new KernelArguments();
        arguments.Add(memory.Span<int>());
        module.Function("k").Launch(Stream, new(1, 1), ref arguments);
        Assert.Equal([42], Download<int>(memory));
    }

    [Fact]
    public void A_syntax_error_names_file_line_and_options()
    {
        var error = Assert.Throws<KernelCompileException>(
            () => Load("// one\nextern \"C\" __global__ void k(int* x)\n{\n    x[0] = undefined_name;\n}\n", "kernels/broken.cu"));
        Assert.Equal(4, error.Line);
        Assert.EndsWith("broken.cu", error.File);
        Assert.Contains("undefined_name", error.Error);
        Assert.Contains("--std=c++17", error.Message);
        Assert.Equal("NVRTC_ERROR_COMPILATION", error.Status);
    }

    [Fact]
    public void An_error_in_a_header_names_the_header()
    {
        var source = new KernelSource(
            "k.cu", "#include \"h.cuh\"\n", new Dictionary<string, string> { ["h.cuh"] = "\nint f() { return undefined_name; }\n" });
        var target = Compiler.TargetFor(Context.Properties);
        var error = Assert.Throws<KernelCompileException>(
            () => Compiler.Compile(source, new CompilerOptions().ToArguments(target), target));
        Assert.EndsWith("h.cuh", error.File);
        Assert.Equal(2, error.Line);
    }

    [Fact]
    public void An_option_nobody_knows_is_an_error()
    {
        var target = Compiler.TargetFor(Context.Properties);
        var options = new CompilerOptions { Extra = ["--no-such-option"] }.ToArguments(target);
        var error = Assert.Throws<KernelCompileException>(() => Compiler.Compile(new("k.cu", ""), options, target));
        Assert.Equal("NVRTC_ERROR_INVALID_OPTION", error.Status);
        Assert.Contains("--no-such-option", error.Message);
    }

    [Fact]
    public void A_cached_image_loads_and_runs()
    {
        var folder = Directory.CreateTempSubdirectory("gpuengine-cache-").FullName;
        try
        {
            var source = new KernelSource("k.cu", "extern \"C\" __global__ void k(int* x) { x[0] = 7; }\n");
            for (var run = 0; run < 2; run++)
            {
                var cache = new KernelCache(folder, Assert.Fail);
                using var module = Context.LoadModule(
                    cache.GetOrCompile(source, new CompilerOptions(), Compiler.TargetFor(Context.Properties), Compiler));
                Assert.Equal(run == 0 ? (1, 0) : (0, 1), (cache.Compiled, cache.FromFolder));
                using var memory = Context.Allocate(sizeof(int), "test");
                var arguments = new KernelArguments();
                arguments.Add(memory.Span<int>());
                module.Function("k").Launch(Stream, new(1, 1), ref arguments);
                Assert.Equal([7], Download<int>(memory));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
