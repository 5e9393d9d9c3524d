using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// One generated kernel with the plain argument list: all outputs, all inputs, then sizes as i64. Launches nothing when the
/// first output is empty.
/// </summary>
internal sealed class GeneratedKernel : CudaKernel
{
    private readonly LaunchShape _shape;
    private readonly long[] _sizes;

    public GeneratedKernel(Node node, KernelRequest request, LaunchShape shape, params long[] sizes) : base(node)
    {
        Requests = [request];
        _shape = shape;
        _sizes = sizes;
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    /// <summary>A grid-stride launch over so many items, which is also the last argument.</summary>
    public static GeneratedKernel Over(long items, Node node, CudaLimits limits, KernelRequest request, params long[] sizes) =>
        new(
            node, request, new LaunchShape(new Dim3((uint)limits.Blocks(items, 256)), new Dim3(256)),
            [.. sizes, node.Outputs[0].Type.Elements]);

    public override void Launch(CudaStream stream)
    {
        if (Node.Outputs[0].Type.Elements == 0) return;
        var arguments = new KernelArguments();
        for (var i = 0; i < Node.Outputs.Count; i++) arguments.Add(Out(i));
        for (var i = 0; i < InputCount; i++) arguments.Add(In(i));
        foreach (var size in _sizes) arguments.Add(size);
        Function().Launch(stream, _shape, ref arguments);
    }
}
