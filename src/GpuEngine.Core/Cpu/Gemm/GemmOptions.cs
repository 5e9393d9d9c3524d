namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>The instruction set of a GEMM; <see cref="Auto"/> takes the widest that the processor has.</summary>
public enum GemmKernel
{
    Auto,
    Avx512,
    Avx2,
    Portable,
}

/// <summary>The bias that is added to C when its sums are complete.</summary>
public enum GemmBias
{
    None,
    PerColumn,
    PerRow,
}

/// <summary>The function applied to C after the bias.</summary>
public enum GemmActivation
{
    None,
    Relu,
}

/// <summary>How to compute a product: none of it changes what is computed, except the epilogue.</summary>
public readonly record struct GemmOptions()
{
    public GemmBias Bias { get; init; } = GemmBias.None;

    public GemmActivation Activation { get; init; } = GemmActivation.None;

    /// <summary>Elements between the biases of two products of a batch; 0 when they share one.</summary>
    public nint BiasStride { get; init; }

    /// <summary>
    /// The most workers to use; small products use fewer. The result does not depend on it, bit for bit.
    /// </summary>
    public int Workers { get; init; } = 1;

    /// <summary>The instruction set, to test one or to compare them.</summary>
    public GemmKernel Kernel { get; init; } = GemmKernel.Auto;
}
