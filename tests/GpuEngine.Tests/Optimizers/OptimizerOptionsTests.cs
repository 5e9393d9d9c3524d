using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Optimizers;
using Xunit;

namespace GpuEngine.Tests.Optimizers;

public class OptimizerOptionsTests
{
    [Theory]
    [InlineData("sgd", 1e-3)]
    [InlineData("adagrad", 1e-2)]
    [InlineData("rmsprop", 1e-2)]
    [InlineData("adam", 1e-3)]
    [InlineData("adamw", 1e-3)]
    public void Names_make_optimizers_with_torchs_default_rates(string name, double lr)
    {
        var optimizer = Optimizer.Create(name);
        Assert.Equal((name, lr), (optimizer.Name, optimizer.LearningRate));
        Assert.Equal(name, optimizer.Op.Name);
    }

    [Fact]
    public void Every_name_makes_an_optimizer_of_that_name() => Assert.All(Optimizer.Names, name => Assert.Equal(name, Optimizer.Create(name).Name));

    [Fact]
    public void Options_reach_the_rule()
    {
        var sgd = Optimizer.Create("sgd", new OptimizerOptions { LearningRate = 0.1, Momentum = 0.9, Nesterov = true, WeightDecay = 1e-4, L2Penalty = 1e-3 });
        Assert.Equal(new SgdOp(0.9, 0, 1e-4 + 2e-3, true), sgd.Op);
        Assert.Equal(["momentum_buffer"], sgd.StateNames);
        var adamw = Optimizer.Create("adamw", new OptimizerOptions { Betas = (0.8, 0.9), Eps = 1e-6, Amsgrad = true });
        Assert.Equal(new AdamOp(0.8, 0.9, 1e-6, 0.01, true, Decoupled: true), adamw.Op);
        Assert.Equal(["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], adamw.StateNames);
        Assert.Equal(0.5, Optimizer.Create("adagrad", new OptimizerOptions { InitialAccumulatorValue = 0.5 }).InitialState("sum"));
    }

    [Fact]
    public void Unknown_names_and_stray_options_are_refused_with_the_valid_ones()
    {
        Assert.Contains("Did you mean 'adamw'", Assert.Throws<UserException>(() => Optimizer.Create("adamww")).Message, StringComparison.Ordinal);
        var stray = Assert.Throws<UserException>(() => Optimizer.Create("adam", new OptimizerOptions { Momentum = 0.9 })).Message;
        Assert.Contains("--momentum", stray, StringComparison.Ordinal);
        Assert.Contains("--betas", stray, StringComparison.Ordinal);
    }

    public static TheoryData<string, Action> Bad() => new()
    {
        { "learning rate", () => _ = new Sgd(-1) },
        { "learning rate", () => _ = new Adam(double.NaN) },
        { "momentum", () => _ = new Sgd(momentum: -0.1) },
        { "weight_decay", () => _ = new Adam(weightDecay: -1) },
        { "nesterov", () => _ = new Sgd(nesterov: true) },
        { "nesterov", () => _ = new Sgd(momentum: 0.9, dampening: 0.1, nesterov: true) },
        { "betas[0]", () => _ = new Adam(beta1: 1) },
        { "betas[1]", () => _ = new AdamW(beta2: -0.1) },
        { "eps", () => _ = new RmsProp(eps: -1) },
        { "alpha", () => _ = new RmsProp(alpha: -1) },
        { "lr_decay", () => _ = new Adagrad(lrDecay: -1) },
        { "initial_accumulator_value", () => _ = new Adagrad(initialAccumulatorValue: -1) },
    };

    [Theory]
    [MemberData(nameof(Bad))]
    public void Values_out_of_range_are_refused_by_name(string option, Action make) =>
        Assert.Contains(option, Assert.Throws<UserException>(make).Message, StringComparison.Ordinal);

    [Fact]
    public void Tensors_that_do_not_fit_are_refused()
    {
        var (x, y, lr, step) = (F.Input("x", DType.F32, [3]), F.Input("y", DType.F32, [4]), F.Scalar(1, DType.F64), F.Scalar(0, DType.I64));
        var none = new Dictionary<string, Tensor>();
        Assert.Throws<ShapeException>(() => new Sgd().Record(x, y, none, lr, step));
        Assert.Throws<ShapeException>(() => new Sgd().Record(x, x, none, y, step));
        Assert.Throws<ShapeException>(() => new Sgd().Record(x, x, none, lr, lr));
        Assert.Throws<ShapeException>(() => new Sgd().Record(x, F.Cast(x, DType.F64), none, lr, step));
        Assert.Throws<ShapeException>(() => new Sgd().Record(x, x, none, lr, step, x));
    }

    // torch.optim.AdamW([p], lr=.1, weight_decay=.1) with state step=4, exp_avg=.5, exp_avg_sq=.25, p=1, grad=2, then step():
    // t = 5, m = .65, v = .25375, p = .99 - .1/(1 - .9^5) .65/(sqrt(.25375)/sqrt(1 - .999^5) + 1e-8)
    [Fact]
    public void Op_call_counts_steps_done_before_and_returns_param_and_states()
    {
        var result = Call("adamw", new() { ["param"] = 1, ["grad"] = 2, ["exp_avg"] = 0.5, ["exp_avg_sq"] = 0.25 }, new() { ["lr"] = 0.1, ["weight_decay"] = 0.1, ["step"] = 4.0 });
        Assert.Equal(["output", "param", "exp_avg", "exp_avg_sq"], result.Keys);
        Assert.Equal(0.65, result["exp_avg"], 1e-15);
        Assert.Equal(0.25375, result["exp_avg_sq"], 1e-15);
        var expected = 0.99 - 0.1 / (1 - Math.Pow(0.9, 5)) * 0.65 / (Math.Sqrt(0.25375) / Math.Sqrt(1 - Math.Pow(0.999, 5)) + 1e-8);
        Assert.Equal(expected, result["param"], 1e-15);
        Assert.Equal(result["param"], result["output"]);
    }

    [Fact]
    public void Op_sgd_without_a_buffer_is_the_first_step_and_with_one_a_later_step()
    {
        Dictionary<string, object> attributes = new() { ["lr"] = 0.1, ["momentum"] = 0.9, ["dampening"] = 0.5 };
        Assert.Equal(2, Call("sgd", new() { ["param"] = 1, ["grad"] = 2 }, attributes)["momentum_buffer"]);
        Assert.Equal(0.9 * 3 + 0.5 * 2, Call("sgd", new() { ["param"] = 1, ["grad"] = 2, ["momentum_buffer"] = 3 }, attributes)["momentum_buffer"], 1e-15);
    }

    [Fact]
    public void Op_calls_refuse_bad_attributes_by_name()
    {
        static string Message(string op, string attribute, object value) => Assert.Throws<UserException>(() =>
            Call(op, new() { ["param"] = 1, ["grad"] = 2 }, new() { [attribute] = value })).Message;
        Assert.Contains("'lr'", Message("adam", "lr", -1.0), StringComparison.Ordinal);
        Assert.Contains("'step'", Message("adam", "step", -1.0), StringComparison.Ordinal);
        Assert.Contains("'betas'", Message("adam", "betas", new[] { 0.9 }), StringComparison.Ordinal);
        Assert.Contains("betas[0]", Message("adam", "betas", new[] { 1.0, 0.9 }), StringComparison.Ordinal);
        Assert.Contains("momentum", Message("sgd", "momentum", -1.0), StringComparison.Ordinal);
    }

    private static Dictionary<string, double> Call(string op, Dictionary<string, double> tensors, Dictionary<string, object> attributes)
    {
        var inputs = tensors.ToDictionary(t => t.Key, t => F.Input(t.Key, DType.F64, Shape.Scalar));
        Dictionary<string, JsonNode?> json = attributes.ToDictionary(a => a.Key, a => OpCall.ToJson(a.Value));
        using var device = new CpuDevice(1);
        using var run = new Evaluation(device, OpCatalog.Call(OpCatalog.Find(op), inputs, json));
        foreach (var (name, value) in tensors) run.Set(name, [value]);
        run.Run();
        return run.Program.Outputs.ToDictionary(o => o.Name, o => run.Get(o.Name)[0]);
    }
}
