using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// The variants and numbers that the launcher of a node chooses among. Nobody keeps lists of them: a launcher that is planned
/// while its questions are heard tells them itself.
/// </summary>
public sealed class LauncherChoices
{
    /// <summary>No launcher has a variant of this name, so each one asks for all that it has.</summary>
    private const string NoVariant = "?";

    /// <summary>Names that launchers share; some look for them without asking whether they are allowed.</summary>
    private static readonly string[] Common = ["one_read", "two_read", "small", "naive"];

    private readonly List<string> _variants = [];
    private readonly Dictionary<string, int> _numbers = [];

    /// <summary>
    /// Names to hold the launcher to: its own in the order of preference, then the common ones. It may lack some: then it plans what it
    /// would plan without, so compare <see cref="CudaKernel.Decision"/>.
    /// </summary>
    public IReadOnlyList<string> Variants => _variants;

    /// <summary>Tunable numbers with the launcher's own values.</summary>
    public IReadOnlyDictionary<string, int> Numbers => _numbers;

    /// <summary>Plans the node once by itself and once with every variant refused.</summary>
    public static LauncherChoices Of(Node node, CudaLimits limits)
    {
        var choices = new LauncherChoices();
        CudaKernels.Create(node, limits with { Variant = null, Choices = choices })?.Dispose();
        CudaKernels.Create(node, limits with { Variant = NoVariant, Choices = choices })?.Dispose();
        foreach (var name in Common) choices.Add(name);
        return choices;
    }

    internal void Add(string variant)
    {
        if (!_variants.Contains(variant)) _variants.Add(variant);
    }

    internal void Add(string number, int value) => _numbers.TryAdd(number, value);
}
