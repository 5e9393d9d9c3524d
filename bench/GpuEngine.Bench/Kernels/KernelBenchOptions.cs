using System.Globalization;
using GpuEngine.Core;

namespace GpuEngine.Bench.Kernels;

/// <summary>What `GpuEngine.Bench kernels` was asked for.</summary>
internal sealed record KernelBenchOptions
{
    private static readonly string[] Names = ["--only", "--device", "--peer", "--python", "--variants", "--variant", "--tune", "--seconds", "--within", "--json", "--list"];

    private static readonly string[] Forms = ["eager", "compiled", "cudnn", "none"];

    /// <summary>Terms of which a case must match one; empty: all but the extra ones.</summary>
    public IReadOnlyList<string> Only { get; init; } = [];

    /// <summary>"cuda", or "sim" for tiny shapes that are run and not timed.</summary>
    public string Device { get; init; } = "cuda";

    /// <summary>Forms of the peer, in order.</summary>
    public IReadOnlyList<string> Peers { get; init; } = ["eager"];

    public string Python { get; init; } = "python3";

    public bool Variants { get; init; }

    /// <summary>Variants that tunings are measured in; empty: the launcher's own.</summary>
    public IReadOnlyList<string> Variant { get; init; } = [];

    /// <summary>Numbers to put in place of launchers' own, one set per row.</summary>
    public IReadOnlyList<IReadOnlyDictionary<string, int>> Tunings { get; init; } = [];

    /// <summary>Seconds of each measurement, without what comes before it.</summary>
    public double Seconds { get; init; } = 0.06;

    /// <summary>No case begins later than so many seconds after the start.</summary>
    public double Within { get; init; } = double.PositiveInfinity;

    public string? Json { get; init; }

    /// <summary>Prints the cases in place of running them.</summary>
    public bool List { get; init; }

    /// <exception cref="UserException">An option is unknown or its value is not understood.</exception>
    public static KernelBenchOptions Parse(string[] arguments)
    {
        var options = new KernelBenchOptions();
        for (var i = 0; i < arguments.Length; i++)
        {
            var name = arguments[i];
            string Value() => ++i < arguments.Length ? arguments[i] : throw new UserException($"{name} needs a value.");
            options = name switch
            {
                "--only" => options with { Only = [.. options.Only, .. Value().Split(',')] },
                "--device" => options with { Device = Value() is "cuda" or "sim" ? arguments[i] : throw new UserException($"--device must be cuda or sim, but is {arguments[i]}.") },
                "--peer" => options with { Peers = [.. Value().Split(',').Select(Form).Where(f => f != "none")] },
                "--python" => options with { Python = Value() },
                "--variants" => options with { Variants = true },
                "--variant" => options with { Variant = [.. options.Variant, .. Value().Split(',')] },
                "--tune" => options with { Tunings = [.. options.Tunings, Tuning(Value())] },
                "--seconds" => options with { Seconds = Number(name, Value()) },
                "--within" => options with { Within = Number(name, Value()) },
                "--json" => options with { Json = Value() },
                "--list" => options with { List = true },
                _ => throw new UserException(NearestName.Sentence("option of `kernels`", name, Names)),
            };
        }

        return options;
    }

    private static string Form(string form) => Forms.Contains(form) ? form : throw new UserException(NearestName.Sentence("peer", form, Forms));

    private static double Number(string option, string text) =>
        double.TryParse(text, CultureInfo.InvariantCulture, out var value) && value > 0 ? value : throw new UserException($"{option} must be above 0, but is {text}.");

    private static Dictionary<string, int> Tuning(string text)
    {
        var numbers = new Dictionary<string, int>();
        foreach (var part in text.Split(','))
        {
            if (part.Split('=') is not [var name, var value] || !int.TryParse(value, CultureInfo.InvariantCulture, out var number))
                throw new UserException($"--tune takes NAME=INTEGER[,NAME=INTEGER...], but got {text}.");
            numbers[name] = number;
        }

        return numbers;
    }
}
