using System.Globalization;
using GpuEngine.Core;
using GpuEngine.Nn.Optimizers;
using Xunit;

namespace GpuEngine.Tests.Optimizers;

public class ScheduleTests
{
    // torch steps its schedules by recursion, which gathers a rounding a step: 60 of them are 1e-14 of the rate; at the end of a
    // cosine the rate itself is small, so the error is measured against the base rate.
    [Fact]
    public void Rates_are_those_of_torchs_schedulers()
    {
        using var stream = typeof(ScheduleTests).Assembly.GetManifestResourceStream("schedules.csv")!;
        using var reader = new StreamReader(stream);
        var lines = 0;
        while (reader.ReadLine() is { } line)
        {
            var parts = line.Split(',');
            var schedule = LearningRateSchedule.Parse(parts[0].Replace(';', ','), totalSteps: 60, stepsPerEpoch: 10);
            var (step, expected) = (long.Parse(parts[1], CultureInfo.InvariantCulture), double.Parse(parts[2], CultureInfo.InvariantCulture));
            var actual = schedule.At(0.1, step);
            Assert.True(Math.Abs(actual - expected) <= 1e-14, $"{parts[0]}, step {step}: torch has {expected:R}, this has {actual:R}");
            lines++;
        }

        Assert.Equal(11 * 60, lines);
    }

    [Fact]
    public void Lengths_are_steps_epochs_or_a_share_of_the_run()
    {
        Assert.Equal(new StepSchedule(30), Parse("step:30"));
        Assert.Equal(new StepSchedule(300), Parse("step:3e"));
        Assert.Equal(new StepSchedule(50), Parse("step:0.5e"));
        Assert.Equal(new StepSchedule(100), Parse("step:10%"));
        Assert.Equal(new ExponentialSchedule(0.9, 100), Parse("exponential:0.9"));
        Assert.Equal(new CosineSchedule(950, 0, 50), ((WarmupSchedule)Parse("warmup:50+cosine")).Then);
        Assert.Equal([500, 900], ((MultiStepSchedule)((WarmupSchedule)Parse("warmup:1e+multistep:500,9e:0.2")).Then).Milestones);
        Assert.Equal(new WarmupSchedule(10, new ConstantSchedule()), Parse("warmup:10"));
    }

    [Fact]
    public void A_warm_up_leaves_milestones_where_they_are()
    {
        var schedule = Parse("warmup:10+multistep:20:0.5");
        Assert.Equal([0.1, 1.0, 1.0, 0.5], new long[] { 0, 9, 19, 20 }.Select(s => schedule.At(1, s)));
    }

    [Theory]
    [InlineData("cosin", "cosine")]
    [InlineData("step", "step:LENGTH")]
    [InlineData("step:0", "not a length")]
    [InlineData("step:1.5", "not a length")]
    [InlineData("step:-3", "not a length")]
    [InlineData("step:3ee", "not a length")]
    [InlineData("step:30:x", "gamma")]
    [InlineData("step:30:0", "gamma")]
    [InlineData("multistep:20,10", "increase")]
    [InlineData("exponential", "exponential:GAMMA")]
    [InlineData("cosine:1:2", "cosine:MINIMUM_RATE")]
    [InlineData("constant:1", "constant")]
    [InlineData("onecycle:0.3", "KEY=VALUE")]
    [InlineData("onecycle:pct=0.3", "pct_start")]
    [InlineData("onecycle:pct_start=2", "between 0 and 1")]
    [InlineData("onecycle:anneal=exp", "cos or linear")]
    [InlineData("warmup+cosine", "warmup:LENGTH")]
    [InlineData("cosine+warmup:5", "warmup:LENGTH")]
    [InlineData("warmup:5+cosine+step:3", "warmup:LENGTH")]
    [InlineData("warmup:5+onecycle", "pct_start")]
    [InlineData("", "constant")]
    public void Mistakes_get_a_sentence_that_says_what_was_expected(string text, string expected) =>
        Assert.Contains(expected, Assert.Throws<UserException>(() => Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void Short_runs_stay_finite()
    {
        foreach (var total in new long[] { 1, 2, 3 })
        {
            foreach (var text in new[] { "cosine", "linear", "onecycle", "onecycle:pct_start=0", "onecycle:pct_start=1", "warmup:2+cosine", "exponential:0.9" })
            {
                var schedule = LearningRateSchedule.Parse(text, total, 1);
                for (var step = 0L; step < total; step++) Assert.True(schedule.At(0.1, step) is >= 0 and <= 0.1, $"{text}, step {step} of {total}: {schedule.At(0.1, step)}");
            }
        }
    }

    private static LearningRateSchedule Parse(string text) => LearningRateSchedule.Parse(text, totalSteps: 1000, stepsPerEpoch: 100);
}
