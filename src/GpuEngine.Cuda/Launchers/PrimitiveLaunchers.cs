namespace GpuEngine.Cuda.Launchers;

/// <summary>The launchers of the primitives, one line each.</summary>
internal static class PrimitiveLaunchers
{
    public static void Register()
    {
    }
}
