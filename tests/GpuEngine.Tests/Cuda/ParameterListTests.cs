using System.Text.RegularExpressions;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Verification;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The <c>extern "C"</c> parameter list of every hand-written kernel, as its source has it, against what its launcher passes:
/// number, order, const, element types after the macros are put in. Nothing checks this at run time.
/// </summary>
public class ParameterListTests
{
    [Fact]
    public void Launchers_pass_what_kernels_take()
    {
        var seen = new HashSet<string>();
        foreach (var kernel in Planned())
        {
            foreach (var step in kernel.Steps)
            {
                seen.Add(step.Request.Entry);
                Check(kernel.Node, step);
            }
        }

        // Every kernel is reached by some sample.
        Assert.Equal(KernelCatalog.All.Select(k => k.Entry).Order(), seen.Order());
    }

    [Fact]
    public void The_catalog_repeats_the_source()
    {
        foreach (var kernel in KernelCatalog.All)
            Assert.Equal(Parameters(kernel.File, kernel.Entry), kernel.Parameters);
    }

    [Fact]
    public void Every_file_is_in_the_catalog()
    {
        Assert.Equal(KernelSources.Files, KernelCatalog.All.Select(k => k.File).Distinct().Order(StringComparer.Ordinal));
        foreach (var file in KernelSources.Files)
        {
            var entries = Regex.Matches(KernelSources.Text(file), """extern "C" __global__ void [^(]*\([^)]*\)\s*(\w+)\(""").Select(m => m.Groups[1].Value);
            Assert.Equal(entries.Order(), KernelCatalog.All.Where(k => k.File == file).Select(k => k.Entry).Order());
        }
    }

    private static readonly string[] Variants = ["naive", "small", "one_read", "two_read", "im2col", "split_k"];

    /// <summary>The launchers of all samples in both dtypes, and their variants by name, planned without a device.</summary>
    internal static IEnumerable<PlannedKernel> Planned()
    {
        var limits = new CudaLimits { HasCublas = true };
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            foreach (var (spec, sample) in KernelSamples.All)
            {
                var instance = new OpInstance(spec, sample, dtype, spec.Differentiable);
                foreach (var node in Traversal.Ancestors([.. instance.Outputs.Concat(instance.Gradients).Select(o => o.Tensor)]))
                {
                    if (CudaKernels.Create(node, limits) is PlannedKernel kernel) yield return kernel;
                    foreach (var variant in Variants)
                    {
                        if (CudaKernels.Create(node, limits with { Variant = variant }) is PlannedKernel one) yield return one;
                    }
                }
            }
        }
    }

    private static void Check(Node node, LaunchStep step)
    {
        var parameters = Parameters(step.Request.Source, step.Request.Entry);
        var context = $"{step.Request.Entry} for {node.Op.Name}";
        Assert.True(parameters.Length == step.Operands.Length + step.Sizes.Length, $"{context}: {parameters.Length} parameters");
        for (var i = 0; i < parameters.Length; i++)
        {
            var type = parameters[i][..parameters[i].LastIndexOf(' ')];
            if (i >= step.Operands.Length)
            {
                Assert.True(type == "i64", $"{context}: size {parameters[i]}");
                continue;
            }

            Assert.True(type.EndsWith('*'), $"{context}: address {parameters[i]}");
            var element = type.TrimEnd('*').Replace("const ", "", StringComparison.Ordinal).Trim();
            var macro = Regex.Match(WithHeaders(step.Request.Source), $@"using {element} = (\w+);").Groups[1].Value;
            if (macro.Length > 0) element = step.Request.Defines.LastOrDefault(d => d.Name == macro).Value ?? Default(step.Request.Source, macro);
            var operand = step.Operands[i];
            var expected = operand.Kind switch
            {
                OperandKind.Output => KernelRequest.StorageType(node.Outputs[operand.Index].DType) + "*",
                OperandKind.Input => "const " + KernelRequest.StorageType(node.Inputs[operand.Index].DType) + "*",
                OperandKind.Counter => "u32*",
                _ => null,
            };
            var actual = (type.StartsWith("const ", StringComparison.Ordinal) ? "const " : "") + element + "*";
            // Statistics that are given are read where batch_norm_apply writes them in evaluation.
            if (node.Op is BatchNormApplyOp && parameters[i] is "float* mean" or "float* invstd") continue;
            Assert.True(expected is null || expected == actual, $"{context}: parameter {parameters[i]} is {actual}, but {expected} is passed");
        }
    }

    /// <summary>"T* y", "const T* x", ... of a kernel, in order.</summary>
    private static string[] Parameters(string file, string entry)
    {
        var match = Regex.Match(KernelSources.Text(file), $$"""extern "C" __global__ void [^(]*\([^)]*\)\s*{{entry}}\(([^)]*)\)""");
        Assert.True(match.Success, $"{file} has no kernel {entry}");
        return [.. match.Groups[1].Value.Split(',').Select(p => Regex.Replace(p.Trim(), @"\s+", " "))];
    }

    /// <summary>What a macro is when nobody defines it, or the name itself.</summary>
    private static string Default(string file, string name)
    {
        var match = Regex.Match(WithHeaders(file), $@"#define {name} (\w+)");
        return match.Success ? match.Groups[1].Value : name;
    }

    /// <summary>A source, then the headers that it includes itself: kernels of one family share their parameters' names.</summary>
    private static string WithHeaders(string file)
    {
        var text = KernelSources.Text(file);
        return text + string.Concat(Regex.Matches(text, "#include \"([^\"]+)\"").Select(m => KernelSources.Headers[m.Groups[1].Value]));
    }
}
