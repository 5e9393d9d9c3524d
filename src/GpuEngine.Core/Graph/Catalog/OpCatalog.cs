using System.Text.Json.Nodes;

namespace GpuEngine.Core.Graph;

/// <summary>
/// The one registry of ops by name. Tests enumerate it: a registered op gets the gradient check, the comparison with its
/// decomposition in float64 and a place on the command line.
/// </summary>
public static class OpCatalog
{
    private static readonly SortedDictionary<string, OpSpec> Specs = new(StringComparer.Ordinal);

    static OpCatalog()
    {
        foreach (var spec in BuiltIn()) Register(spec);
    }

    /// <summary>All entries by name.</summary>
    public static IReadOnlyCollection<OpSpec> All => Specs.Values;

    /// <summary>Adds an op; user code calls it for ops of its own.</summary>
    /// <exception cref="ArgumentException">The name is taken.</exception>
    public static void Register(OpSpec spec)
    {
        if (!Specs.TryAdd(spec.Name, spec)) throw new ArgumentException($"An op named '{spec.Name}' is already registered.");
    }

    /// <summary>Finds an entry.</summary>
    /// <exception cref="UserException">There is none of that name.</exception>
    public static OpSpec Find(string name) =>
        Specs.TryGetValue(name, out var spec) ? spec : throw new UserException(NearestName.Sentence("op", name, Specs.Keys));

    /// <summary>Records a call by name.</summary>
    public static IReadOnlyList<NamedTensor> Call(OpSpec spec, IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, JsonNode?> attributes) =>
        spec.Build(new OpCall(spec, tensors, attributes));

    // One line per op, grouped as the folders are.
    private static IEnumerable<OpSpec> BuiltIn() =>
    [
        .. Activations.All, PReluOp.Spec, SReluOp.Spec, MaxoutOp.Spec, Glu.Spec, BiasActOp.Spec,
        SoftmaxOp.Spec, SoftmaxOp.LogSpec, DropoutOp.Spec, EmbeddingOp.Spec,
        CrossEntropyOp.Spec, CrossEntropyWithGradientOp.Spec, NegativeLogLikelihood.Spec, MseLoss.Spec, L1Loss.Spec, HuberLoss.Spec, HuberLoss.SmoothL1Spec, BinaryCrossEntropyWithLogits.Spec,
        LinearOp.Spec,
        BatchNormOp.Spec, SyncBatchNormStatsOp.Spec, SyncBatchNormSumsOp.Spec,
        GroupNormOp.Spec,
        LayerNormOp.Spec,
        InstanceNormOp.Spec,
        RmsNormOp.Spec,
        LocalResponseNormOp.Spec,
        SgdOp.Spec, SgdOp.LiteralNesterovSpec, AdagradOp.Spec, RmsPropOp.Spec, AdamOp.Spec, AdamOp.DecoupledSpec, AdamOp.LiteralSpec,
        ClipGradNormOp.Spec, ClipGradValueOp.Spec,
        Conv2dOp.Spec, MaxPool2d.Spec, AvgPool2dOp.Spec, AdaptiveAvgPool2dOp.Spec,
        .. AugmentCatalog.All,
    ];
}
