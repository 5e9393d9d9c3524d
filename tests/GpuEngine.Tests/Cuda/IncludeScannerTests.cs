using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public class IncludeScannerTests
{
    private static readonly Dictionary<string, string> Headers = new()
    {
        ["common/reduce.cuh"] = "#include \"common/types.cuh\"\n",
        ["common/types.cuh"] = "struct t {};\n",
        ["common/beside.cuh"] = "#include \"types.cuh\"\n",
        ["common/up.cuh"] = "#include \"../other/x.cuh\"\n",
        ["other/x.cuh"] = "",
        ["ring_a.cuh"] = "#include \"ring_b.cuh\"\n",
        ["ring_b.cuh"] = "#include \"ring_a.cuh\"\n",
        ["unused.cuh"] = "",
    };

    [Theory]
    [InlineData("", "")]
    [InlineData("int x;", "")]
    [InlineData("#include \"common/types.cuh\"", "common/types.cuh")]
    [InlineData("#include <common/types.cuh>", "common/types.cuh")]
    [InlineData("  #  include\t\"common/types.cuh\" // why\n", "common/types.cuh")]
    [InlineData("#include \\\n \"common/types.cuh\"", "common/types.cuh")]
    [InlineData("# /* c */ include \"common/types.cuh\"", "")]
    [InlineData("#include /* c */ \"common/types.cuh\"", "common/types.cuh")]
    [InlineData("/* c */ #include \"common/types.cuh\"", "common/types.cuh")]
    [InlineData("int a;\r\n#include \"common/types.cuh\"\r\nint b;", "common/types.cuh")]
    [InlineData("#if 0\n#include \"common/types.cuh\"\n#endif", "common/types.cuh")]
    [InlineData("const char* s = \"#include x\";", "")]
    [InlineData("#include <cuda_fp16.h>", "")]
    [InlineData("#include \"common/reduce.cuh\"", "common/reduce.cuh,common/types.cuh")]
    [InlineData("#include \"common/beside.cuh\"", "common/beside.cuh,common/types.cuh")]
    [InlineData("#include \"common/up.cuh\"", "common/up.cuh,other/x.cuh")]
    [InlineData("#include \"ring_a.cuh\"", "ring_a.cuh,ring_b.cuh")]
    public void The_closure_holds_what_can_be_reached(string source, string expected) =>
        Assert.Equal(
            expected.Split(',', StringSplitOptions.RemoveEmptyEntries), IncludeScanner.Closure(source, Headers));

    [Fact]
    public void An_include_of_a_macro_may_be_any_header() =>
        Assert.Equal(Headers.Keys.Order(StringComparer.Ordinal), IncludeScanner.Closure("#define H <x>\n#include H\n", Headers));

    [Fact]
    public void Direct_includes_come_as_written() =>
        Assert.Equal(["a.cuh", "b/c.cuh"], IncludeScanner.Direct("#include \"a.cuh\"\n#include <b/c.cuh>\n#define X\n"));
}
