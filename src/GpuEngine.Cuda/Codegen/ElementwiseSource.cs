using System.Text;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda.Codegen;

/// <summary>How a kernel finds the element of an input that belongs to an output element.</summary>
internal enum Access
{
    /// <summary>At the same place of a contiguous tensor.</summary>
    Flat,

    /// <summary>One element for all.</summary>
    Scalar,

    /// <summary>By strides from the coordinates.</summary>
    Strided,
}

/// <summary>
/// Writes the kernel of an element-wise program. Extents and strides are arguments, so that one kernel serves all shapes of
/// one rank. With flat and scalar inputs only, elements move in vectors of 16 bytes where all addresses allow it.
/// </summary>
internal static class ElementwiseSource
{
    public const string Entry = "elementwise";

    /// <summary>Words of the layout argument: extents, then the strides of each strided input.</summary>
    public const int LayoutWords = 56;

    public static string Write(ElementwiseProgram program, IReadOnlyList<Access> access, int rank, bool wideIndex)
    {
        var text = new StringBuilder("""
            // Generated: an element-wise program. Argument order: output, inputs, layout, count.
            #include "vector.cuh"
            using namespace gpuengine;


            """);
        text.Append(ElementwiseExpression.Helpers);
        Compute(text, program);
        var strided = access.Contains(Access.Strided);
        var index = wideIndex ? "i64" : "u32";
        if (strided) text.Append($"struct Layout {{ i64 v[{LayoutWords}]; }};\n");
        text.Append($"extern \"C\" __global__ void __launch_bounds__(256) {Entry}(\n    {Type(program.Output)}* out");
        for (var i = 0; i < access.Count; i++) text.Append($", const {Type(program.Inputs[i])}* in{i}");
        text.Append(strided ? ", const Layout layout, i64 count) {\n" : ", i64 count) {\n");
        for (var i = 0; i < access.Count; i++)
        {
            if (access[i] == Access.Scalar) text.Append($"    const {Type(program.Inputs[i])} s{i} = in{i}[0];\n");
        }

        if (strided) Strided(text, access, rank, index);
        else Flat(text, program, access);
        return text.Append("}\n").ToString();
    }

    private static string Type(DType dtype) => KernelRequest.StorageType(dtype);

    /// <summary>One element, from storage types to the storage type.</summary>
    private static void Compute(StringBuilder text, ElementwiseProgram program)
    {
        List<string> names = [];
        List<DType> types = [.. program.Inputs];
        text.Append($"DEVICE {Type(program.Output)} compute(");
        for (var i = 0; i < program.Inputs.Count; i++)
        {
            text.Append($"{(i == 0 ? "" : ", ")}{Type(program.Inputs[i])} x{i}");
            names.Add(program.Inputs[i] == DType.BF16 ? $"to_float(x{i})" : $"x{i}");
        }

        text.Append(") {\n");
        for (var i = 0; i < program.Steps.Count; i++)
        {
            var step = program.Steps[i];
            var value = ElementwiseExpression.Of(
                step, [.. step.Operands.Select(o => names[o])], [.. step.Operands.Select(o => types[o])]);
            text.Append($"    const {KernelRequest.ComputeType(step.DType)} t{i} = {value};\n");
            names.Add($"t{i}");
            types.Add(step.DType);
        }

        var result = names[^1];
        if (program.Steps.Count == 0) result = "x0";
        else if (program.Output == DType.BF16) result = $"from_float<bf16>({result})";
        text.Append($"    return {result};\n}}\n");
    }

    private static void Strided(StringBuilder text, IReadOnlyList<Access> access, int rank, string index)
    {
        text.Append("    for (i64 i = global_thread(); i < count; i += global_threads()) {\n");
        text.Append($"        {index} rest = static_cast<{index}>(i), c;\n");
        var inputs = Enumerable.Range(0, access.Count).Where(i => access[i] == Access.Strided).ToArray();
        foreach (var i in inputs) text.Append($"        {index} o{i} = 0;\n");
        for (var axis = rank - 1; axis >= 0; axis--)
        {
            if (axis > 0) text.Append($"        c = rest % static_cast<{index}>(layout.v[{axis}]); rest /= static_cast<{index}>(layout.v[{axis}]);");
            else text.Append("        c = rest;");
            for (var k = 0; k < inputs.Length; k++)
                text.Append($" o{inputs[k]} += c * static_cast<{index}>(layout.v[{rank * (k + 1) + axis}]);");
            text.Append('\n');
        }

        text.Append("        out[i] = compute(");
        text.AppendJoin(", ", access.Select((a, i) => a switch
        {
            Access.Flat => $"in{i}[i]",
            Access.Scalar => $"s{i}",
            _ => $"in{i}[o{i}]",
        }));
        text.Append(");\n    }\n");
    }

    private static void Flat(StringBuilder text, ElementwiseProgram program, IReadOnlyList<Access> access)
    {
        var flat = Enumerable.Range(0, access.Count).Where(i => access[i] == Access.Flat).ToArray();
        var width = 16 / flat.Select(i => program.Inputs[i].Size()).Append(program.Output.Size()).Max();
        string Aligned(string pointer, DType dtype) =>
            $"reinterpret_cast<u64>({pointer}) % {Math.Min(16, width * dtype.Size())} == 0";
        var conditions = flat.Select(i => Aligned($"in{i}", program.Inputs[i])).Prepend(Aligned("out", program.Output));
        text.Append("    i64 done = 0;\n");
        text.Append($"    if ({string.Join(" && ", conditions)}) {{\n");
        text.Append($"        const i64 groups = count / {width};\n        done = groups * {width};\n");
        text.Append("        for (i64 g = global_thread(); g < groups; g += global_threads()) {\n");
        foreach (var i in flat) text.Append($"            const auto v{i} = load<{width}>(in{i} + g * {width});\n");
        text.Append($"            Vec<{Type(program.Output)}, {width}> y;\n#pragma unroll\n");
        text.Append($"            for (int j = 0; j < {width}; ++j) y[j] = compute(");
        text.AppendJoin(", ", access.Select((a, i) => a == Access.Flat ? $"v{i}[j]" : $"s{i}"));
        text.Append($");\n            store<{width}>(out + g * {width}, y);\n        }}\n    }}\n");
        text.Append("    for (i64 i = done + global_thread(); i < count; i += global_threads()) out[i] = compute(");
        text.AppendJoin(", ", access.Select((a, i) => a == Access.Flat ? $"in{i}[i]" : $"s{i}"));
        text.Append(");\n");
    }
}
