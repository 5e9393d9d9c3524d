using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Training;

/// <summary>
/// Runs <see cref="Lsuv"/> on a model: the first training batch goes forward, and every weight that asks for it is divided until its
/// layer's output has unit variance.
/// </summary>
internal static class LsuvInitialization
{
    public static IReadOnlyList<LsuvLayer> Run(IDevice device, IVariableStore store, ModelVariables model, BatchLoader loader, Shape inputShape, InputPipeline? pipeline = null)
    {
        pipeline ??= InputPipeline.None;
        var start = loader.Cursor;
        var generator = new Variable("generator", DType.I64, [2], MemoryClass.Optimizer);
        var input = F.Input("input", pipeline.DType, inputShape);
        var trace = model.NewTrace(true, DType.F32, generator.Value);
        model.Model.Forward(pipeline.Evaluation(input, View.Plain, DType.F32), trace);
        var slots = model.Slots.Where(s => s.Parameter.Init.NeedsData && trace.Products.ContainsKey(s.Parameter)).ToList();
        NamedTensor[] outputs = [.. slots.Select(s => new NamedTensor(s.Name, trace.Products[s.Parameter]))];
        using var forward = device.Load(Planner.Plan(new TensorProgram("lsuv", outputs), device.Target), store);
        pipeline.Write(forward, "input", loader.Take());
        loader.Cursor = start;
        return new Lsuv().Run([.. slots.Select(s => s.Name)], Deviation, Divide);

        double Deviation(int layer)
        {
            forward.Run();
            var values = new float[outputs[layer].Tensor.Type.Elements];
            forward.Read<float>(outputs[layer].Name, values);
            var mean = values.Average(v => (double)v);
            return Math.Sqrt(values.Average(v => (v - mean) * (v - mean)));
        }

        void Divide(int layer, double by)
        {
            var group = model.Groups.First(g => g.Slots.Contains(slots[layer]));
            var arena = store.ReadArray<float>(group.Arena);
            foreach (ref var value in arena.AsSpan(slots[layer].Offset, (int)slots[layer].Parameter.Shape.Elements)) value = (float)(value / by);
            store.Write<float>(group.Arena, arena);
        }
    }
}
