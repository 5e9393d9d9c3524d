namespace GpuEngine.Nn.Optimizers;

/// <summary>
/// The learning rate of every step as a pure function of the base rate and the step (0 at the first), so that a resumed run
/// needs no state. The formulas are the closed forms of torch.optim.lr_scheduler.
/// </summary>
public abstract record LearningRateSchedule
{
    /// <summary>The rate of a step.</summary>
    /// <param name="baseRate">The optimizer's rate.</param>
    /// <param name="step">Steps done before, 0 at the first.</param>
    public abstract double At(double baseRate, long step);

    /// <summary>Reads the text form; see <see cref="ScheduleText"/> for the grammar.</summary>
    /// <exception cref="Core.UserException">The text is not a schedule; the sentence says which part and what was expected.</exception>
    public static LearningRateSchedule Parse(string text, long totalSteps, long stepsPerEpoch) =>
        new ScheduleText(text, totalSteps, stepsPerEpoch).Read();
}

/// <summary>The base rate throughout.</summary>
public sealed record ConstantSchedule : LearningRateSchedule
{
    public override double At(double baseRate, long step) => baseRate;
}

/// <summary>torch's StepLR: times <paramref name="Gamma"/> after every <paramref name="StepSize"/> steps.</summary>
public sealed record StepSchedule(long StepSize, double Gamma = 0.1) : LearningRateSchedule
{
    public override double At(double baseRate, long step) => baseRate * Math.Pow(Gamma, step / StepSize);
}

/// <summary>torch's MultiStepLR: times <paramref name="Gamma"/> at every milestone.</summary>
public sealed record MultiStepSchedule(IReadOnlyList<long> Milestones, double Gamma = 0.1) : LearningRateSchedule
{
    public override double At(double baseRate, long step) => baseRate * Math.Pow(Gamma, Milestones.Count(m => step >= m));
}

/// <summary>torch's ExponentialLR, stepped after every <paramref name="Period"/> steps (an epoch).</summary>
public sealed record ExponentialSchedule(double Gamma, long Period) : LearningRateSchedule
{
    public override double At(double baseRate, long step) => baseRate * Math.Pow(Gamma, step / Period);
}

/// <summary>torch's CosineAnnealingLR (Loshchilov and Hutter 2017) over <paramref name="Length"/> steps from <paramref name="Start"/>.</summary>
public sealed record CosineSchedule(long Length, double MinimumRate = 0, long Start = 0) : LearningRateSchedule
{
    public override double At(double baseRate, long step) =>
        MinimumRate + (baseRate - MinimumRate) * (1 + Math.Cos(Math.PI * (step - Start) / Length)) / 2;
}

/// <summary>
/// torch's LinearLR with start_factor 1: from the base rate to <paramref name="EndFactor"/> times it over
/// <paramref name="Length"/> steps from <paramref name="Start"/>, constant after.
/// </summary>
public sealed record LinearSchedule(long Length, double EndFactor = 0, long Start = 0) : LearningRateSchedule
{
    public override double At(double baseRate, long step) =>
        baseRate * (1 + (EndFactor - 1) * Math.Min(step - Start, Length) / Length);
}

/// <summary>
/// torch's OneCycleLR (Smith and Topin 2018) with the base rate as max_lr: up from base/div_factor over the first part
/// <paramref name="PctStart"/> of the steps, then down to base/(div_factor final_div_factor). Momentum is not cycled.
/// </summary>
public sealed record OneCycleSchedule(
    long Length, double PctStart = 0.3, bool LinearAnneal = false, double DivFactor = 25, double FinalDivFactor = 1e4) : LearningRateSchedule
{
    public override double At(double baseRate, long step)
    {
        var initial = baseRate / DivFactor;
        var peak = PctStart * Length - 1;
        var end = Length - 1.0;
        if (step <= peak) return Anneal(initial, baseRate, peak > 0 ? step / peak : 1);
        // torch refuses steps after the last; here the rate stays at its final value.
        var share = end > peak ? (Math.Min(step, end) - peak) / (end - peak) : 1;
        return Anneal(baseRate, initial / FinalDivFactor, share);
    }

    private double Anneal(double start, double end, double share) =>
        LinearAnneal ? (end - start) * share + start : end + (start - end) / 2 * (Math.Cos(Math.PI * share) + 1);
}

/// <summary>
/// Linear warm-up: step k of the first <paramref name="Steps"/> has (k + 1)/Steps of the base rate (torch's LinearLR with
/// start_factor 1/Steps and total_iters Steps - 1), later steps have what <paramref name="Then"/> says for them.
/// </summary>
public sealed record WarmupSchedule(long Steps, LearningRateSchedule Then) : LearningRateSchedule
{
    public override double At(double baseRate, long step) => step < Steps ? baseRate * (step + 1) / Steps : Then.At(baseRate, step);
}

/// <summary>
/// A constant, lower rate at the start, as He et al. (2015, section 4.2) train their 110-layer net: the first <paramref name="Steps"/> steps
/// have <paramref name="Factor"/> times the base rate, later ones what <paramref name="Then"/> says for them.
/// </summary>
public sealed record LowStartSchedule(long Steps, double Factor, LearningRateSchedule Then) : LearningRateSchedule
{
    public override double At(double baseRate, long step) => step < Steps ? baseRate * Factor : Then.At(baseRate, step);
}
