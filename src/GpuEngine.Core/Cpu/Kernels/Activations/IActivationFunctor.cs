using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// An activation on a register, written once: the element-wise kernels and the kernels that fuse an activation are generic
/// over it, and because implementations are structs the JIT inlines them there.
/// </summary>
internal interface IActivationFunctor<T> where T : unmanaged
{
    Vector512<T> Forward(Vector512<T> x);

    /// <summary>dy/dx at the input x.</summary>
    Vector512<T> Derivative(Vector512<T> x);
}

/// <summary>Receives the functor of an activation as a type parameter; see <see cref="ActivationFunctors.Visit"/>.</summary>
internal interface IActivationVisitor<T, out TResult> where T : unmanaged
{
    TResult Visit<TFunctor>(TFunctor functor) where TFunctor : struct, IActivationFunctor<T>;
}

/// <summary>From the graph's activations to functors.</summary>
internal static class ActivationFunctors
{
    /// <summary>
    /// Calls the visitor with the functor of <paramref name="activation"/> (null is the identity); false where there is none, as
    /// for an activation that a user has added.
    /// </summary>
    public static bool Visit<T, TResult>(Activation? activation, IActivationVisitor<T, TResult> visitor, out TResult? result) where T : unmanaged
    {
        switch (activation)
        {
            case null or Identity: result = visitor.Visit(new IdentityFunctor<T>()); return true;
            case Relu: result = visitor.Visit(new ReluFunctor<T>()); return true;
            case LeakyRelu leaky: result = visitor.Visit(new LeakyReluFunctor<T>(leaky)); return true;
            case Elu elu: result = visitor.Visit(new EluFunctor<T>(elu)); return true;
            case Gelu { TanhForm: false }: result = visitor.Visit(new GeluFunctor<T>()); return true;
            case Gelu: result = visitor.Visit(new TanhGeluFunctor<T>()); return true;
            case Silu: result = visitor.Visit(new SiluFunctor<T>()); return true;
            case Mish: result = visitor.Visit(new MishFunctor<T>()); return true;
            case Softplus softplus: result = visitor.Visit(new SoftplusFunctor<T>(softplus)); return true;
            case Softsign: result = visitor.Visit(new SoftsignFunctor<T>()); return true;
            case Sigmoid: result = visitor.Visit(new SigmoidFunctor<T>()); return true;
            case LogSigmoid: result = visitor.Visit(new LogSigmoidFunctor<T>()); return true;
            case Tanh: result = visitor.Visit(new TanhFunctor<T>()); return true;
            case Hardtanh hardtanh: result = visitor.Visit(new HardtanhFunctor<T>(hardtanh)); return true;
            case Hardsigmoid: result = visitor.Visit(new HardsigmoidFunctor<T>()); return true;
            case Hardswish: result = visitor.Visit(new HardswishFunctor<T>()); return true;
            default: result = default; return false;
        }
    }
}
