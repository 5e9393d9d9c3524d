using GpuEngine.Core;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>The norms a model can be asked for by name.</summary>
public enum NormKind
{
    None, Batch, Layer, Group, Instance,
}

/// <summary>Where the sum of a residual block stands.</summary>
public enum ResidualForm
{
    /// <summary>No shortcuts.</summary>
    None,

    /// <summary>x + W2 f(n(W1 f(n(x)))) (He et al. 2016, "Identity mappings").</summary>
    Pre,

    /// <summary>f(x + n(W2 f(n(W1 x)))) (He et al. 2015).</summary>
    Post,
}

/// <summary>Options of the multi-layer perceptron.</summary>
public sealed record MlpOptions
{
    /// <summary>Hidden layers.</summary>
    public int Depth { get; init; } = 4;

    /// <summary>Units of each hidden layer.</summary>
    public int Width { get; init; } = 512;

    public NormKind Norm { get; init; } = NormKind.Batch;

    /// <summary>Groups of group_norm.</summary>
    public int Groups { get; init; } = 8;

    /// <summary>Joins hidden layers in pairs by shortcuts.</summary>
    public ResidualForm Residual { get; init; }

    /// <summary>
    /// What multiplies each branch; null leaves branches as they are. 1/sqrt(L) for L blocks keeps the variance of the sum
    /// bounded at any depth (see <see cref="Mlp.BranchScale"/>).
    /// </summary>
    public double? BranchScale { get; init; }

    /// <summary>
    /// The last norm of each branch starts at zero, so that every block starts as an identity; without norms the branch's last
    /// linear layer does.
    /// </summary>
    public bool ZeroInitResidual { get; init; }

    /// <summary>The activation by name, with attributes ("leaky_relu:0.1").</summary>
    public string Activation { get; init; } = "relu";

    /// <summary>Probability of dropping a hidden unit.</summary>
    public double Dropout { get; init; }

    /// <summary>How weights of hidden layers start; null takes He for ReLU-like activations and Xavier for the others.</summary>
    public Initializer? Init { get; init; }
}

/// <summary>
/// Deep fully connected nets: depth times (linear, norm, activation, dropout), then a linear classifier. With residual
/// connections the hidden layers after the first form blocks of two.
/// </summary>
public static class Mlp
{
    /// <exception cref="UserException">An option makes no sense.</exception>
    public static Module Create(int inputs, int classes, MlpOptions options)
    {
        if (options.Width < 1) throw new UserException($"--width must be at least 1, but is {options.Width}.");
        if (options.Depth < 0) throw new UserException($"--depth must not be negative, but is {options.Depth}.");
        if (options.Dropout is not (>= 0 and < 1)) throw new UserException($"--dropout must be at least 0 and less than 1, but is {options.Dropout}.");
        if (options.Norm == NormKind.Group && (options.Groups < 1 || options.Width % options.Groups != 0))
            throw new UserException($"--groups {options.Groups} does not divide --width {options.Width}.");
        var layers = new List<(string, Module)> { ("flatten", new Flatten()) };
        if (options.Residual == ResidualForm.None) AddPlain(layers, inputs, options);
        else AddResidual(layers, inputs, options);
        var features = options.Depth == 0 ? inputs : options.Width;
        layers.Add(("classifier", new Linear(features, classes, init: new LeCun())));
        return new Sequential(layers);
    }

    private static void AddPlain(List<(string, Module)> layers, int inputs, MlpOptions options)
    {
        for (var i = 0; i < options.Depth; i++)
        {
            layers.Add(($"linear{i + 1}", Hidden(i == 0 ? inputs : options.Width, options)));
            layers.AddRange(Tail($"{i + 1}", options));
        }
    }

    private static void AddResidual(List<(string, Module)> layers, int inputs, MlpOptions options)
    {
        if (options.Depth == 0) return;
        var pre = options.Residual == ResidualForm.Pre;
        layers.Add(("stem", Hidden(inputs, options)));
        // Post-activation blocks take an activated input.
        if (!pre) layers.AddRange(Tail("_stem", options));
        var left = options.Depth - 1;
        for (var block = 1; left >= 2; block++, left -= 2)
        {
            var (name, last) = ($"block{block}", Hidden(options.Width, options, isLastOfBranch: true));
            layers.Add((name, new Residual(
                new Sequential(pre
                    ? [.. Tail("1", options), ("linear1", Hidden(options.Width, options)), .. Tail("2", options, isLastOfBranch: true), ("linear2", last)]
                    : [("linear1", Hidden(options.Width, options)), .. Tail("1", options), ("linear2", last), .. Norm(options, true) is { } norm ? [("norm2", norm)] : Array.Empty<(string, Module)>()]),
                options.BranchScale)));
            if (!pre) layers.Add(($"act_block{block}", Activate.Named(options.Activation, options.Width)));
        }

        if (pre) layers.AddRange(Tail("_final", options));
        if (left == 0) return;
        layers.Add(("linear_last", Hidden(options.Width, options)));
        layers.AddRange(Tail("_last", options));
    }

    /// <summary>1/sqrt(L) for the L blocks that a depth makes.</summary>
    public static double BranchScale(int depth) => 1 / Math.Sqrt(Math.Max(1, (depth - 1) / 2));

    /// <summary>Norm, activation, dropout: what follows a linear layer.</summary>
    private static IEnumerable<(string, Module)> Tail(string suffix, MlpOptions options, bool isLastOfBranch = false)
    {
        if (Norm(options, isLastOfBranch) is { } norm) yield return ("norm" + suffix, norm);
        yield return ("act" + suffix, Activate.Named(options.Activation, options.Width));
        if (options.Dropout > 0) yield return ("dropout" + suffix, new Dropout(options.Dropout));
    }

    private static Linear Hidden(int inputs, MlpOptions options, bool isLastOfBranch = false)
    {
        var silent = isLastOfBranch && options is { ZeroInitResidual: true, Norm: NormKind.None };
        return new(inputs, options.Width, init: silent ? new Constant(0) : options.Init ?? Default(options.Activation));
    }

    private static Initializer Default(string activation)
    {
        var name = activation.Split(':')[0];
        return name is "sigmoid" or "tanh" or "softsign" ? new Xavier(true) : name == "selu" ? new LeCun() : new Kaiming();
    }

    private static Module? Norm(MlpOptions options, bool isLastOfBranch)
    {
        var gamma = isLastOfBranch && options.ZeroInitResidual ? 0 : 1;
        return options.Norm switch
        {
            NormKind.None => null,
            NormKind.Batch => new BatchNorm(options.Width, gamma: gamma),
            NormKind.Layer => new LayerNorm(options.Width, gamma: gamma),
            NormKind.Group => new GroupNorm(options.Groups, options.Width, gamma: gamma),
            // One value per channel has no spread: the hidden vector is taken as one channel of `width` places.
            _ => new InstanceNorm(1, gamma: gamma),
        };
    }
}
