using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Core.Verification;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Lab.Kernels;

/// <summary>What a name on the command line means: an op, a file of <c>kernels/</c> without its ending, or an entry of one.</summary>
/// <param name="Kernels">Entries of the kernel catalog.</param>
/// <param name="Ops">The ops that they run.</param>
public sealed record KernelSelection(IReadOnlyList<CatalogKernel> Kernels, IReadOnlyList<OpSpec> Ops)
{
    /// <summary>Primitives have no entry in the op catalog; this one has a kernel of its own.</summary>
    private static readonly OpSpec Permute = new("permute", "axes in another order")
    {
        Attributes = [new("dims", new[] { 1, 0 }, "the input's axes in their new order")],
        Build = call => call.Output(F.Permute(call["input"], call.Integers("dims"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(70, 33) },
            new() { ["input"] = Sample.Normal(3, 40, 65), Attributes = { ["dims"] = new[] { 0, 2, 1 } } },
            new() { ["input"] = Sample.Normal(2, 17, 5, 7), Attributes = { ["dims"] = new[] { 0, 2, 3, 1 } } },
        ],
    };

    private static readonly Lazy<IReadOnlyDictionary<OpSpec, IReadOnlySet<(string File, string Entry)>>> Uses = new(FindUses);

    /// <summary>Everything, or what the name means.</summary>
    /// <exception cref="UserException">Nothing has that name; the sentence tells the nearest.</exception>
    public static KernelSelection Of(string? name)
    {
        if (name is null) return new(KernelCatalog.All, Checked);
        if (Checked.FirstOrDefault(s => s.Name == name) is { } op)
            return new([.. KernelCatalog.All.Where(k => Uses.Value[op].Contains((k.File, k.Entry)))], [op]);
        var kernels = KernelCatalog.All.Where(k => k.Entry == name || k.File == name || Path.GetFileNameWithoutExtension(k.File) == name).ToArray();
        if (kernels.Length == 0) throw new UserException(NearestName.Sentence("op, kernel file or kernel", name, Names));
        return new(kernels, [.. kernels.SelectMany(OpsOf).Distinct()]);
    }

    /// <summary>The catalog ops whose plans launch the kernel, forward or backward, for some sample in some variant.</summary>
    public static IReadOnlyList<OpSpec> OpsOf(CatalogKernel kernel) => [.. Uses.Value.Where(u => u.Value.Contains((kernel.File, kernel.Entry))).Select(u => u.Key)];

    private static OpSpec[] Checked => [.. OpCatalog.All, Permute];

    private static string[] Names =>
    [
        .. KernelCatalog.All.Select(k => Path.GetFileNameWithoutExtension(k.File)).Concat(KernelCatalog.All.Select(k => k.Entry))
            .Concat(Checked.Select(s => s.Name)).Distinct().Order(StringComparer.Ordinal),
    ];

    /// <summary>Planned for an H200 with cuBLAS, which can run every variant; planning needs no device.</summary>
    private static Dictionary<OpSpec, IReadOnlySet<(string File, string Entry)>> FindUses()
    {
        var limits = new CudaLimits { HasCublas = true };
        var target = new CudaPlanTarget(limits, new CudaDeviceOptions());
        var uses = new Dictionary<OpSpec, IReadOnlySet<(string File, string Entry)>>();
        foreach (var spec in Checked)
        {
            var found = new HashSet<(string File, string Entry)>();
            foreach (var node in spec.Samples.SelectMany(sample => Nodes(spec, sample, target)))
            {
                foreach (var variant in LauncherChoices.Of(node, limits).Variants.Prepend(null))
                {
                    foreach (var request in CudaKernels.Create(node, limits with { Variant = variant })?.Requests ?? [])
                    {
                        if (request.GeneratedText is null) found.Add((request.Source, request.Entry));
                    }
                }
            }

            uses[spec] = found;
        }

        return uses;
    }

    private static IEnumerable<Node> Nodes(OpSpec spec, OpSample sample, CudaPlanTarget target)
    {
        var op = new OpInstance(spec, sample, DType.F32, spec.Differentiable);
        return Planner.Plan(new TensorProgram(spec.Name, [.. op.Outputs, .. op.Gradients]), target).Launches.Select(l => l.Node);
    }
}
