using GpuEngine.Core;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab.Measure;

/// <summary>One line of the what-if table: a run with other options.</summary>
/// <param name="Options">What is asked for besides: "recompute + bf16"; "as is" for the run itself. "checkpoint" is --checkpoint auto.</param>
/// <param name="Forecast">What it needs.</param>
/// <param name="Base">The run as it is.</param>
public sealed record WhatIf(string Options, RunForecast Forecast, RunForecast Base)
{
    /// <summary>Peak bytes as a share of the run as it is.</summary>
    public double Share => (double)Forecast.Total / Base.Total;

    public int ExtraLaunches => Forecast.Step.Launches - Base.Step.Launches;

    /// <summary>Further bytes that a step moves, as a share.</summary>
    public double ExtraBytes => (double)Forecast.Step.Cost.Bytes / Base.Step.Cost.Bytes - 1;

    /// <summary>Further flops of a step, as a share.</summary>
    public double ExtraFlops => (double)Forecast.Step.Cost.Flops / Base.Step.Cost.Flops - 1;
}

/// <summary>Forecasts of a run under options that save memory.</summary>
public static class MemoryWhatIf
{
    /// <summary>The table's lines, the run as it is first. Options that the model cannot have are left out.</summary>
    public static IReadOnlyList<WhatIf> Table(RunConfig config, RunForecast forecast, IPlanTarget target)
    {
        var rows = new List<WhatIf> { new("as is", forecast, forecast) };
        var bf16 = config.Precision == "bf16";
        foreach (var (precision, recompute, checkpoint) in new (bool, bool, bool)[]
                 {
                     (true, false, false), (false, true, false), (false, false, true), (false, true, true), (true, true, false), (true, false, true), (true, true, true),
                 })
        {
            var asked = config with
            {
                Precision = precision ? "bf16" : config.Precision,
                Recompute = recompute || config.Recompute == true ? true : null,
                Checkpoint = config.Checkpoint ?? (checkpoint ? "auto" : null),
            };
            if ((precision && bf16) || (checkpoint && config.Checkpoint is not null) || (recompute && config.Recompute == true)) continue;
            var parts = new (bool Asked, string Name)[] { (recompute, "recompute"), (checkpoint, "checkpoint"), (precision, "bf16") };
            try
            {
                rows.Add(new WhatIf(string.Join(" + ", parts.Where(p => p.Asked).Select(p => p.Name)), MemoryForecasts.Of(asked, target), forecast));
            }
            catch (UserException) when (checkpoint)
            {
                // A model of one layer has no place to be cut at.
            }
        }

        return rows;
    }
}
