using System.Globalization;
using GpuEngine.Core;

namespace GpuEngine.Nn.Optimizers;

/// <summary>
/// The text form of schedules:
/// <code>
/// schedule = [ "warmup:" length [ ":" factor ] "+" ] rule          with a factor, so much of the rate instead of a ramp
/// rule     = "constant" | "step:" length [ ":" gamma ] | "multistep:" length { "," length } [ ":" gamma ]
///          | "exponential:" gamma [ ":" length ] | "cosine" [ ":" minimum rate ] | "linear" [ ":" end factor ]
///          | "onecycle" { ":" key "=" value }      keys: pct_start, anneal (cos or linear), div_factor, final_div_factor
/// length   = steps ("500"), epochs ("30e", "0.5e") or a share of the run ("10%")
/// </code>
/// Lengths of step and multistep count from the start of the run, warm-up included; cosine and linear span what the warm-up
/// leaves of the run. exponential multiplies once per epoch unless a length is given.
/// </summary>
internal sealed class ScheduleText(string text, long totalSteps, long stepsPerEpoch)
{
    private static readonly string[] Rules = ["constant", "step", "multistep", "exponential", "cosine", "linear", "onecycle"];
    private static readonly string[] Keys = ["pct_start", "anneal", "div_factor", "final_div_factor"];

    public LearningRateSchedule Read()
    {
        var parts = text.Split('+');
        if (parts.Length == 1 && !text.StartsWith("warmup", StringComparison.Ordinal)) return Rule(text, 0);
        var (name, values) = Split(parts[0]);
        if (parts.Length > 2 || name != "warmup" || values.Length is not (1 or 2))
            throw Wrong("expected 'warmup:LENGTH' or 'warmup:LENGTH:FACTOR' followed by '+' and a rule, such as warmup:500+cosine");
        var steps = Length(values[0]);
        var then = parts.Length == 1 ? new ConstantSchedule() : Rule(parts[1], steps);
        if (then is OneCycleSchedule) throw Wrong("onecycle has a warm-up of its own; use onecycle:pct_start=0.1 instead");
        return values.Length == 1 ? new WarmupSchedule(steps, then) : new LowStartSchedule(steps, Number("the warm-up's factor", values[1], v => v > 0, "above 0"), then);
    }

    private LearningRateSchedule Rule(string rule, long warmup)
    {
        var (name, values) = Split(rule);
        var rest = Math.Max(totalSteps - warmup, 1);
        switch (name)
        {
            case "constant":
                Arity(name, values, 0, 0, "constant");
                return new ConstantSchedule();
            case "step":
                Arity(name, values, 1, 2, "step:LENGTH or step:LENGTH:GAMMA");
                return new StepSchedule(Length(values[0]), Gamma(values, 1, 0.1));
            case "multistep":
                Arity(name, values, 1, 2, "multistep:LENGTH,LENGTH or multistep:LENGTH,LENGTH:GAMMA");
                return new MultiStepSchedule(Milestones(values[0]), Gamma(values, 1, 0.1));
            case "exponential":
                Arity(name, values, 1, 2, "exponential:GAMMA or exponential:GAMMA:LENGTH");
                return new ExponentialSchedule(Gamma(values, 0, 1), values.Length > 1 ? Length(values[1]) : Math.Max(stepsPerEpoch, 1));
            case "cosine":
                Arity(name, values, 0, 1, "cosine or cosine:MINIMUM_RATE");
                return new CosineSchedule(rest, values.Length > 0 ? Number("the minimum rate", values[0], v => v >= 0, "at least 0") : 0, warmup);
            case "linear":
                Arity(name, values, 0, 1, "linear or linear:END_FACTOR");
                return new LinearSchedule(rest, values.Length > 0 ? Number("the end factor", values[0], v => v >= 0, "at least 0") : 0, warmup);
            case "onecycle":
                return OneCycle(values);
            default:
                throw new UserException(NearestName.Sentence("schedule", name, [.. Rules, "warmup"]));
        }
    }

    private OneCycleSchedule OneCycle(string[] values)
    {
        var schedule = new OneCycleSchedule(Math.Max(totalSteps, 1));
        foreach (var value in values)
        {
            var equals = value.IndexOf('=', StringComparison.Ordinal);
            if (equals < 0) throw Wrong($"'{value}' should be KEY=VALUE with one of the keys {string.Join(", ", Keys)}");
            var (key, given) = (value[..equals], value[(equals + 1)..]);
            schedule = key switch
            {
                "pct_start" => schedule with { PctStart = Number(key, given, v => v is >= 0 and <= 1, "between 0 and 1") },
                "anneal" => schedule with
                {
                    LinearAnneal = given is "cos" or "linear" ? given == "linear" : throw Wrong($"anneal must be cos or linear, but is '{given}'"),
                },
                "div_factor" => schedule with { DivFactor = Number(key, given, v => v > 0, "above 0") },
                "final_div_factor" => schedule with { FinalDivFactor = Number(key, given, v => v > 0, "above 0") },
                _ => throw new UserException($"--schedule '{text}': {NearestName.Sentence("key", key, Keys)}"),
            };
        }

        return schedule;
    }

    private long[] Milestones(string list)
    {
        var milestones = list.Split(',').Select(Length).ToArray();
        for (var i = 1; i < milestones.Length; i++)
        {
            if (milestones[i] <= milestones[i - 1]) throw Wrong($"the milestones '{list}' must increase");
        }

        return milestones;
    }

    private long Length(string value)
    {
        var unit = value.EndsWith('e') ? Math.Max(stepsPerEpoch, 1) : value.EndsWith('%') ? totalSteps / 100.0 : 1;
        var digits = value.TrimEnd('e', '%');
        var whole = unit == 1 && digits == value;
        if (!double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number) || number <= 0 ||
            value.Length - digits.Length > 1 || (whole && number != Math.Floor(number)))
            throw Wrong($"'{value}' is not a length; write steps (500), epochs (30e) or a share of the run (10%), above 0");
        return Math.Max(1, (long)Math.Round(number * unit));
    }

    private double Gamma(string[] values, int index, double otherwise) =>
        index < values.Length ? Number("gamma", values[index], v => v > 0, "above 0") : otherwise;

    private double Number(string what, string value, Func<double, bool> valid, string range) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) && valid(number)
            ? number
            : throw Wrong($"{what} must be a number {range}, but is '{value}'");

    private void Arity(string name, string[] values, int least, int most, string form)
    {
        if (values.Length < least || values.Length > most) throw Wrong($"{name} is written {form}");
    }

    private UserException Wrong(string what) => new($"--schedule '{text}': {what}.");

    private static (string Name, string[] Values) Split(string part)
    {
        var pieces = part.Split(':');
        return (pieces[0], pieces[1..]);
    }
}
