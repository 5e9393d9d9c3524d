using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Optimizers;

/// <summary>torch.optim.Adagrad. <c>epsInside</c> puts eps under the root (lecture S3); <c>l2Penalty</c> is rho of rho sum w^2.</summary>
public sealed class Adagrad(
    double lr = 1e-2, double lrDecay = 0, double weightDecay = 0, double initialAccumulatorValue = 0, double eps = 1e-10,
    bool maximize = false, bool epsInside = false, double l2Penalty = 0)
    : Optimizer(epsInside ? "adagrad_literal" : "adagrad", lr, new AdagradOp(lrDecay, weightDecay + 2 * l2Penalty, eps, epsInside, maximize))
{
    private readonly double _initial = initialAccumulatorValue >= 0
        ? initialAccumulatorValue
        : throw new Core.UserException($"adagrad: initial_accumulator_value must be at least 0, but is {initialAccumulatorValue}.");

    public override double InitialState(string state) => _initial;
}

/// <summary>torch.optim.RMSprop. <c>epsInside</c> puts eps under the root (lecture S3); <c>l2Penalty</c> is rho of rho sum w^2.</summary>
public sealed class RmsProp(
    double lr = 1e-2, double alpha = 0.99, double eps = 1e-8, double weightDecay = 0, double momentum = 0, bool centered = false,
    bool maximize = false, bool epsInside = false, double l2Penalty = 0)
    : Optimizer(epsInside ? "rmsprop_literal" : "rmsprop", lr, new RmsPropOp(
        alpha, eps, weightDecay + 2 * l2Penalty, momentum, centered, epsInside, maximize));

/// <summary>torch.optim.Adam. <c>epsInside</c> puts eps under the root (lecture S3); <c>l2Penalty</c> is rho of rho sum w^2.</summary>
public sealed class Adam(
    double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weightDecay = 0, bool amsgrad = false,
    bool maximize = false, bool epsInside = false, double l2Penalty = 0)
    : Optimizer(epsInside ? "adam_eps_inside" : "adam", lr, new AdamOp(
        beta1, beta2, eps, weightDecay + 2 * l2Penalty, amsgrad, EpsInside: epsInside, Maximize: maximize));

/// <summary>torch.optim.AdamW: the decay shrinks the weights and does not pass through the moments.</summary>
public sealed class AdamW(
    double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weightDecay = 1e-2, bool amsgrad = false,
    bool maximize = false)
    : Optimizer("adamw", lr, new AdamOp(beta1, beta2, eps, weightDecay, amsgrad, Decoupled: true, Maximize: maximize));

/// <summary>
/// Lecture S3's Adam as typed: the bias-corrected moments are stored and corrected again (erratum E9), eps is under the root
/// (E10). With a steady gradient of 1 the second moment overflows f32 at step 20.
/// </summary>
public sealed class AdamLiteral(double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8)
    : Optimizer("adam_literal", lr, new AdamOp(beta1, beta2, eps, EpsInside: true, StoreCorrected: true));
