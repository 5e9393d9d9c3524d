using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The macros by which a kernel is compiled with an activation (kernels/common/activations.cuh).</summary>
internal static class ActivationMacros
{
    /// <summary>
    /// As <see cref="Of(Activation?)"/>, for results that are stored in a dtype: approximate functions do where that is bf16.
    /// </summary>
    public static (string Name, string Value)[]? Of(Activation? activation, DType stored) =>
        Of(activation) is { } macros && stored == DType.BF16 && activation is not (null or Identity or Relu or LeakyRelu or Hardtanh)
            ? [.. macros, KernelRequest.Define("ACTIVATION_FAST", 1L)]
            : Of(activation);

    /// <summary>The struct's name and its constants; null when the kernels do not have that activation. No activation is the identity.</summary>
    public static (string Name, string Value)[]? Of(Activation? activation) => activation switch
    {
        null or Identity => Named("Identity"),
        Relu => Named("Relu"),
        LeakyRelu a => Named("LeakyRelu", a.NegativeSlope),
        Elu a => Named("Elu", a.Alpha, a.Scale, a.InputScale),
        Gelu a => Named(a.TanhForm ? "GeluTanh" : "Gelu"),
        Silu => Named("Silu"),
        Mish => Named("Mish"),
        Softplus a => Named("Softplus", a.Beta, a.Threshold, 1 / a.Beta),
        Softsign => Named("Softsign"),
        Sigmoid => Named("Sigmoid"),
        LogSigmoid => Named("LogSigmoid"),
        Tanh => Named("Tanh"),
        Hardtanh a => Named("Hardtanh", a.MinVal, a.MaxVal),
        Hardsigmoid => Named("Hardsigmoid"),
        Hardswish => Named("Hardswish"),
        _ => null,
    };

    private static (string Name, string Value)[] Named(string name, params ReadOnlySpan<double> constants)
    {
        List<(string, string)> macros = [("ACTIVATION", name)];
        for (var i = 0; i < constants.Length; i++)
            macros.Add(KernelRequest.Define($"ACTIVATION_{(char)('A' + i)}", (float)constants[i]));
        return [.. macros];
    }
}
