using GpuEngine.Core.Graph;
using GpuEngine.Nn.Optimizers;
using Xunit;

namespace GpuEngine.Tests.Optimizers;

/// <summary>The lectures' formulas beside the standard ones: what each erratum does, by number (experiments A43, A61-A63, A76; E5-E10, E14).</summary>
public class LiteralFormTests
{
    [Fact]
    public void E9_literal_adam_overflows_f32_at_step_20_with_a_steady_gradient_of_1()
    {
        using var run = Constant(new AdamLiteral(), DType.F32, 1);
        var peak = 0.0;
        for (var step = 1; step <= 25; step++)
        {
            peak = Math.Max(peak, run.Step(1e-3, [1.0]).State("exp_avg")[0]);
            var second = run.State("exp_avg_sq")[0];
            Assert.Equal(step >= 20, double.IsInfinity(second));
        }

        Assert.Equal(3945.1, peak, 0.1);   // at step 21
    }

    [Fact]
    public void E9_the_step_of_literal_adam_is_below_1e_15_by_step_19_and_standard_adam_keeps_its_rate()
    {
        using var literal = Constant(new AdamLiteral(), DType.F64, 1);
        using var standard = Constant(new Adam(), DType.F64, 1);
        double last = 0, standardLast = 0;
        for (var step = 1; step <= 19; step++)
        {
            var (a, b) = (literal.Param[0], standard.Param[0]);
            literal.Step(1e-3, [1.0]);
            standard.Step(1e-3, [1.0]);
            (last, standardLast) = (Math.Abs(literal.Param[0] - a), Math.Abs(standard.Param[0] - b));
        }

        Assert.True(last < 1e-15, $"{last}");
        // m and v are exactly 1 - beta^t, so the corrected quotient is 1/(1 + eps).
        Assert.Equal(1e-3, standardLast, 1e-10);
    }

    [Theory]
    [InlineData(1e-2, 1.00005, 0.00001)]
    [InlineData(1e-3, 1.005, 0.0001)]
    [InlineData(1e-4, 1.414, 0.001)]
    [InlineData(1e-5, 10.04, 0.01)]
    [InlineData(1e-6, 99.0, 0.1)]
    public void E10_ratio_of_steps_with_eps_outside_and_inside_the_root(double gradient, double ratio, double digits)
    {
        // Bias correction makes the first step the steady state of a constant gradient.
        using var outside = Constant(new Adam(), DType.F64, 1);
        using var inside = Constant(new Adam(epsInside: true), DType.F64, 1);
        Assert.Equal(ratio, outside.Step(1, [gradient]).Param[0] / inside.Step(1, [gradient]).Param[0], digits);
    }

    [Fact]
    public void A43_after_a_tenfold_drop_of_the_rate_the_next_step_is_1_with_the_rate_outside_and_9_1_inside()
    {
        using var outside = Constant(new Sgd(momentum: 0.9), DType.F64, 1);
        using var inside = Constant(new Sgd(momentum: 0.9, rateInside: true), DType.F64, 1);
        for (var step = 0; step < 400; step++)
        {
            outside.Step(1, [1.0]);
            inside.Step(1, [1.0]);
            Assert.Equal(outside.Param[0], inside.Param[0], 1e-9);   // equal while the rate is constant
        }

        var (a, b) = (outside.Param[0], inside.Param[0]);
        Assert.Equal(1.0, a - outside.Step(0.1, [1.0]).Param[0], 1e-9);
        Assert.Equal(9.1, b - inside.Step(0.1, [1.0]).Param[0], 1e-9);
        // E7: the velocity is a sum, not an average: gain 1/(1 - beta).
        Assert.Equal(10, outside.State("momentum_buffer")[0], 1e-9);
    }

    [Theory]
    [InlineData(0.105, 1e-4, false)]
    [InlineData(0.105, 1e-2, false)]
    [InlineData(0.12, 1e-4, true)]
    [InlineData(0.12, 1e-2, true)]
    [InlineData(1.0, 1e-6, true)]
    public void E6_literal_nesterov_diverges_when_the_curvature_exceeds_1_over_beta_less_1_whatever_the_rate(double curvature, double rate, bool diverges)
    {
        using var run = Quadratic(new NesterovLiteral(momentum: 0.9), curvature);
        for (var step = 0; step < 20_000 && Math.Abs(run.Param[0]) < 1e6; step++) run.Step(rate);
        Assert.Equal(diverges, !(Math.Abs(run.Param[0]) < 1e6));
    }

    [Fact]
    public void E6_two_steps_of_literal_nesterov_have_the_determinant_beta_times_1_plus_k()
    {
        const double Beta = 0.9, K = 0.3, Rate = 0.05;
        // The state (w, v) is linear in the start; columns are the images of the two unit vectors. The op holds y = w + beta v.
        var columns = new (double W, double V)[2];
        for (var unit = 0; unit < 2; unit++)
        {
            using var run = Quadratic(new NesterovLiteral(momentum: Beta), K, start: 1);
            run.Step(Rate);
            var first = (W: run.Param[0] - Beta * run.State("momentum_buffer")[0], V: run.State("momentum_buffer")[0]);
            run.Step(Rate);
            var second = (W: run.Param[0] - Beta * run.State("momentum_buffer")[0], V: run.State("momentum_buffer")[0]);
            columns[unit] = unit == 0 ? first : second;
        }

        // M maps (1, 0) to the first state and that to the second: det M = det[s1 s2] / det[s0 s1].
        var determinant = (columns[0].W * columns[1].V - columns[1].W * columns[0].V) / columns[0].V;
        Assert.Equal(Beta * (1 + K), determinant, 1e-12);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Nesterov_is_the_look_ahead_definition(int function)
    {
        // w' = w - v', v' = beta v + lr grad(w - beta v): Nesterov 1983 in Sutskever's form. torch's parameter is w - beta v.
        Func<double, double> slope = function switch
        {
            0 => w => 3 * w,
            1 => w => w * w * w,
            _ => w => Math.Sin(w) + 0.1 * w,
        };
        const double Beta = 0.8, Rate = 0.05;
        using var run = new OptimizerRun(new Sgd(momentum: Beta, nesterov: true), DType.F64, [1.5], (w, push) => function switch
        {
            0 => w * 3 + push,
            1 => w * w * w + push,
            _ => F.Sin(w) + w * 0.1 + push,
        });
        double x = 1.5, v = 0;
        for (var step = 0; step < 100; step++)
        {
            v = Beta * v + Rate * slope(x - Beta * v);
            x -= v;
            run.Step(Rate);
            Assert.Equal(x - Beta * v, run.Param[0], 1e-12);
        }
    }

    [Fact]
    public void Heavy_ball_is_stable_up_to_2_times_1_plus_beta_over_the_curvature()
    {
        const double Beta = 0.9, K = 2;
        foreach (var (factor, diverges) in new[] { (0.99, false), (1.01, true) })
        {
            using var run = Quadratic(new Sgd(momentum: Beta), K);
            for (var step = 0; step < 5000 && Math.Abs(run.Param[0]) < 1e6; step++) run.Step(factor * 2 * (1 + Beta) / K);
            Assert.Equal(diverges, Math.Abs(run.Param[0]) >= 1e6);
        }
    }

    [Fact]
    public void A61_adagrad_with_a_constant_gradient_steps_by_eta_over_root_t()
    {
        using var run = Constant(new Adagrad(eps: 1e-8, epsInside: true), DType.F64, 1);
        for (var t = 1; t <= 200; t++)
        {
            var before = run.Param[0];
            // eps 1e-8 under the root of a sum of at least 1 changes the step by at most 5e-9 of itself.
            Assert.Equal(1 / Math.Sqrt(t), before - run.Step(1, [1.0]).Param[0], 1e-8);
        }

        // 2 sqrt(T) + zeta(1/2) + 1/(2 sqrt(T))
        Assert.Equal(2 * Math.Sqrt(200) - 1.4603545 + 0.5 / Math.Sqrt(200), -run.Param[0], 1e-4);
    }

    [Fact]
    public void A62_rmsprop_with_a_constant_gradient_starts_at_3_16_eta_and_ends_at_eta()
    {
        using var run = Constant(new RmsProp(alpha: 0.9, epsInside: true), DType.F64, 1);
        Assert.Equal(1 / Math.Sqrt(0.1), -run.Step(1, [1.0]).Param[0], 1e-6);
        for (var step = 0; step < 300; step++) run.Step(1, [1.0]);
        var before = run.Param[0];
        Assert.Equal(1, before - run.Step(1, [1.0]).Param[0], 1e-8);
    }

    [Theory]
    [InlineData(1e-4)]
    [InlineData(1.0)]
    [InlineData(-1e4)]
    public void A63_the_first_step_of_adam_is_eta_times_the_sign(double gradient)
    {
        using var run = Constant(new Adam(), DType.F64, 1);
        // eps/|g| is 1e-4 for the smallest.
        Assert.Equal(-0.01 * Math.Sign(gradient), run.Step(0.01, [gradient]).Param[0], 2e-6);
    }

    [Fact]
    public void E14_an_l2_penalty_of_rho_is_a_weight_decay_of_2_rho_and_decoupled_decay_differs()
    {
        static double[] After(Optimizer optimizer)
        {
            using var run = new OptimizerRun(optimizer, DType.F64, [1.0, -2, 3], (w, push) => w * 0 + push);
            for (var step = 0; step < 10; step++) run.Step(0.1, [0.1, 0.2, 0.3]);
            return run.Param;
        }

        Assert.Equal(After(new Sgd(weightDecay: 0.2)), After(new Sgd(l2Penalty: 0.1)));
        Assert.Equal(After(new Adam(weightDecay: 0.2)), After(new Adam(l2Penalty: 0.1)));
        Assert.NotEqual(After(new Sgd(weightDecay: 0.1))[0], After(new Sgd(l2Penalty: 0.1))[0], 1e-3);
        Assert.NotEqual(After(new Adam(weightDecay: 0.2))[0], After(new AdamW(weightDecay: 0.2))[0], 1e-3);
    }

    private static OptimizerRun Constant(Optimizer optimizer, DType dtype, int length) =>
        new(optimizer, dtype, new double[length], (w, push) => w * 0 + push);

    private static OptimizerRun Quadratic(Optimizer optimizer, double curvature, double start = 1) =>
        new(optimizer, DType.F64, [start], (w, push) => w * curvature + push);
}
