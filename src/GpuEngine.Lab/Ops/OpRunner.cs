using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Files;

namespace GpuEngine.Lab.Ops;

/// <summary>Runs one op of the catalog from file to file: the engine's smallest use, and the way to compare it with any other.</summary>
public static class OpRunner
{
    /// <summary>The tensor of the incoming gradient, and the prefix of the outgoing ones.</summary>
    public const string GradOutput = "grad_output", GradPrefix = "grad_";

    /// <param name="device">Where to run.</param>
    /// <param name="spec">What to run.</param>
    /// <param name="inputPath">A safetensors file with the op's tensors under torch's argument names.</param>
    /// <param name="outputPath">Gets `output` (and what else the op returns) and, with gradients, `grad_input`, ...</param>
    /// <param name="attributes">Attributes as JSON.</param>
    /// <param name="gradients">Also run backward from the file's `grad_output`.</param>
    /// <param name="dtype">The dtype that floating tensors are converted to; null keeps that of the first of them.</param>
    /// <exception cref="UserException">A tensor or attribute is missing, unknown or does not fit.</exception>
    public static void Run(
        IDevice device, OpSpec spec, string inputPath, string outputPath,
        IReadOnlyDictionary<string, JsonNode?> attributes, bool gradients, DType? dtype)
    {
        using var file = SafetensorsFile.Open(inputPath);
        var floats = dtype ?? FirstFloat(file) ?? DType.F32;
        var inputs = new Dictionary<string, Tensor>();
        foreach (var (name, tensor) in file.Tensors)
        {
            if (name == GradOutput) continue;
            inputs[name] = F.Input(name, TypeIn(tensor, floats, inputPath), ShapeOf(tensor));
        }

        List<NamedTensor> outputs;
        try
        {
            outputs = [.. OpCatalog.Call(spec, inputs, attributes)];
            if (gradients) outputs.AddRange(Gradients(spec, file, inputs, outputs, floats));
        }
        catch (ShapeException e)
        {
            throw new UserException($"op {spec.Name} with the tensors of {inputPath}: {e.Message}", e);
        }

        using var evaluation = new Evaluation(device, outputs);
        foreach (var input in evaluation.Program.Inputs)
        {
            var name = TensorProgram.InputName(input);
            evaluation.Executable.Write(name, Read(file, file.Tensors[name], input.DType));
        }

        evaluation.Run();
        Save(evaluation, outputPath);
    }

    private static IEnumerable<NamedTensor> Gradients(
        OpSpec spec, SafetensorsFile file, Dictionary<string, Tensor> inputs, List<NamedTensor> outputs, DType floats)
    {
        if (!spec.Differentiable) throw new UserException($"op {spec.Name} has no gradient; leave out --grad.");
        var output = outputs[0].Tensor;
        if (!file.Tensors.TryGetValue(GradOutput, out var given))
            throw new UserException($"op {spec.Name} with --grad: the input tensor '{GradOutput}' of shape {output.Shape} is missing in {file.Path}.");
        if (ShapeOf(given) != output.Shape)
            throw new UserException($"op {spec.Name} with --grad: '{GradOutput}' in {file.Path} has shape {given.ShapeText}, but the output has {output.Shape}.");
        var seed = F.Input(GradOutput, floats, output.Shape);
        var names = spec.Arguments.Where(a => a.Differentiable && inputs.TryGetValue(a.Name, out var t) && t.DType.IsFloat()).Select(a => a.Name).ToList();
        var found = Autodiff.VectorJacobian([output], [seed], [.. names.Select(n => inputs[n])]);
        return names.Select((n, i) => new NamedTensor(GradPrefix + n, found[i] ?? F.Zeros(inputs[n].Shape, inputs[n].DType)));
    }

    private static DType? FirstFloat(SafetensorsFile file)
    {
        foreach (var tensor in file.Tensors.Values)
        {
            if (Native(tensor.Dtype) is { } dtype && dtype.IsFloat()) return dtype;
        }

        return null;
    }

    private static DType TypeIn(SafetensorsTensor tensor, DType floats, string path)
    {
        if (tensor.Dtype == SafetensorsDtype.F16) return floats;
        var dtype = Native(tensor.Dtype) ?? throw new UserException(
            $"The tensor '{tensor.Name}' in {path} has dtype {tensor.Dtype}, which no op takes; use F32, F64, BF16, F16, I32, I64, U8 or BOOL.");
        return dtype.IsFloat() ? floats : dtype;
    }

    private static DType? Native(SafetensorsDtype dtype) => dtype switch
    {
        SafetensorsDtype.F32 => DType.F32,
        SafetensorsDtype.F64 => DType.F64,
        SafetensorsDtype.BF16 => DType.BF16,
        SafetensorsDtype.I32 => DType.I32,
        SafetensorsDtype.I64 => DType.I64,
        SafetensorsDtype.U8 => DType.U8,
        SafetensorsDtype.BOOL => DType.Bool,
        _ => null,
    };

    private static byte[] Read(SafetensorsFile file, SafetensorsTensor tensor, DType wanted)
    {
        var bytes = new byte[tensor.ByteLength];
        file.ReadInto(tensor.Name, bytes);
        if (Native(tensor.Dtype) == wanted) return bytes;
        if (tensor.Dtype != SafetensorsDtype.F16) return ElementData.FromDoubles(wanted, ElementData.ToDoubles(Native(tensor.Dtype)!.Value, bytes));
        var halves = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, Half>(bytes);
        var values = new double[halves.Length];
        for (var i = 0; i < values.Length; i++) values[i] = (double)halves[i];
        return ElementData.FromDoubles(wanted, values);
    }

    private static void Save(Evaluation evaluation, string path)
    {
        var writer = new SafetensorsWriter();
        foreach (var output in evaluation.Program.Outputs)
        {
            var type = output.Tensor.Type;
            var bytes = new byte[type.Bytes];
            evaluation.Executable.Read(output.Name, bytes);
            var dtype = Enum.Parse<SafetensorsDtype>(type.DType.ToString(), ignoreCase: true);
            writer.Add<byte>(output.Name, dtype, [.. type.Shape.Select(d => (long)d)], bytes);
        }

        writer.Save(path);
    }

    private static Shape ShapeOf(SafetensorsTensor tensor) => new(tensor.Shape.Select(d => checked((int)d)).ToArray());
}
