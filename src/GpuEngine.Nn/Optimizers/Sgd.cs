using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Optimizers;

/// <summary>
/// torch.optim.SGD. With <c>rateInside</c> the rate enters the velocity and not the step (lecture S3): the same while the rate
/// is constant, slower to follow when it drops. <c>l2Penalty</c> is rho of rho sum w^2, that is weight_decay = 2 rho.
/// </summary>
public sealed class Sgd(
    double lr = 1e-3, double momentum = 0, double dampening = 0, double weightDecay = 0, bool nesterov = false,
    bool maximize = false, bool rateInside = false, double l2Penalty = 0)
    : Optimizer(rateInside ? "sgd_rate_inside" : "sgd", lr, new SgdOp(
        momentum, dampening, weightDecay + 2 * l2Penalty, nesterov,
        rateInside ? MomentumForm.RateInside : MomentumForm.RateOutside, maximize));

/// <summary>
/// Lecture S1's Nesterov momentum as typed: the look-ahead is w + beta v (erratum E6). The parameters it updates are the
/// look-ahead points, because that is where it takes gradients. It diverges wherever the curvature exceeds 1/beta - 1.
/// </summary>
public sealed class NesterovLiteral(double lr = 1e-3, double momentum = 0.99)
    : Optimizer("nesterov_literal", lr, new SgdOp(momentum, Form: MomentumForm.LiteralNesterov));
