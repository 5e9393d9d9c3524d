using System.Globalization;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Core.Verification;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab.Kernels;

/// <summary>One op, one dtype, one variant under the simulator's checks.</summary>
/// <param name="Op">The op's name.</param>
/// <param name="Dtype">Its dtype.</param>
/// <param name="Variant">The variant; null for the launchers' own choice.</param>
/// <param name="Samples">Samples that were run.</param>
/// <param name="Finding">The first finding, or which schedule gave other bits; null when there is none.</param>
public sealed record KernelProofRow(string Op, DType Dtype, string? Variant, int Samples, string? Finding)
{
    public bool Passed => Finding is null;
}

/// <summary>
/// What only a simulator can prove: no access outside a tensor, no uninitialised read, no race, and the same bits in every order of
/// threads and blocks.
/// </summary>
public static class KernelProof
{
    /// <param name="variants">Variants of a simulated device.</param>
    /// <param name="ops">Ops to prove.</param>
    /// <param name="dtypes">In these dtypes.</param>
    /// <param name="schedules">Random orders to run each sample in.</param>
    public static IEnumerable<KernelProofRow> Run(KernelVariants variants, IEnumerable<OpSpec> ops, IReadOnlyList<DType> dtypes, int schedules)
    {
        using var checks = new SimulatorChecks("memory,race");
        foreach (var spec in ops)
        {
            foreach (var dtype in dtypes)
            {
                foreach (var (variant, device, samples) in variants.Of(spec, dtype))
                {
                    var finding = samples.Select(s => Prove((CudaDevice)device, spec, s, dtype, schedules, checks)).FirstOrDefault(f => f is not null);
                    checks.ClearFindings();
                    SimulatorChecks.Schedule(0);
                    yield return new KernelProofRow(spec.Name, dtype, variant, samples.Count, finding);
                }
            }
        }
    }

    private static string? Prove(CudaDevice device, OpSpec spec, OpSample sample, DType dtype, int schedules, SimulatorChecks checks)
    {
        try
        {
            var instance = new OpInstance(spec, sample, dtype, spec.Differentiable);
            using var evaluation = new Evaluation(device, [.. instance.Outputs, .. instance.Gradients]);
            foreach (var name in evaluation.Program.Inputs.Select(TensorProgram.InputName)) evaluation.Set(name, instance.Values(name));
            double[][]? expected = null;
            for (var seed = 0; seed <= schedules; seed++)
            {
                SimulatorChecks.Schedule(seed);
                evaluation.Run();
                var outputs = evaluation.Program.Outputs.Select(o => evaluation.Get(o.Name)).ToArray();
                if (checks.FindingCount > 0) return string.Create(CultureInfo.InvariantCulture, $"{sample}, schedule {seed}: {checks.Findings[0]}");
                expected ??= outputs;
                var other = Enumerable.Range(0, outputs.Length).FirstOrDefault(i => !outputs[i].AsSpan().SequenceEqual(expected[i]), -1);
                if (other >= 0) return string.Create(CultureInfo.InvariantCulture, $"{sample}: {evaluation.Program.Outputs[other].Name} has other bits in schedule {seed}");
            }

            SimulatorChecks.Schedule(0);
            return evaluation.Executable.Plan.Launches.Select(l => Alone(device, l.Node, checks)).FirstOrDefault(f => f is not null) is { } found ? $"{sample}: {found}" : null;
        }
        catch (Exception e) when (e is CudaException or KernelCompileException)
        {
            return $"{sample}: {e.Message.Split('\n')[0]}{(checks.FindingCount > 0 ? " " + checks.Findings[0] : "")}";
        }
    }

    /// <summary>
    /// In a plan's arena a step over the end of a tensor lands in another one; here each has an allocation of its own. Class 0, step 0
    /// and seed 0 are always valid; the other values do not matter.
    /// </summary>
    private static string? Alone(CudaDevice device, Node node, SimulatorChecks checks)
    {
        if (CudaKernels.Create(node, device.Limits) is not { } kernel || node.Op is Leaf) return null;
        var memories = new List<DeviceMemory>();
        DevicePointer Place(long bytes, byte[]? content)
        {
            var memory = device.Context.Allocate(Math.Max(bytes, 4), "operand");
            memories.Add(memory);
            if (content is { Length: > 0 }) device.Stream.CopyToDevice<byte>(content, memory.Span<byte>(0, content.Length));
            return memory.Address;
        }

        try
        {
            device.Library.Compile(kernel.Requests);
            DevicePointer[] inputs =
            [
                .. node.Inputs.Select(t => Place(
                    t.Type.Bytes, ElementData.FromDoubles(t.DType, [.. Enumerable.Range(0, (int)t.Type.Elements).Select(i => t.DType.IsFloat() ? 0.5 + i % 7 : 0)]))),
            ];
            DevicePointer[] outputs = [.. node.Outputs.Select(t => Place(t.Type.Bytes, null))];
            kernel.Bind(device.Library, outputs, inputs, Place(kernel.WorkspaceBytes, null), Place(kernel.CounterBytes, new byte[Math.Max(kernel.CounterBytes, 4)]));
            kernel.Launch(device.Stream);
            device.Stream.Synchronize();
            return checks.FindingCount > 0 ? checks.Findings[0] : null;
        }
        finally
        {
            kernel.Dispose();
            foreach (var memory in memories) memory.Dispose();
        }
    }
}
