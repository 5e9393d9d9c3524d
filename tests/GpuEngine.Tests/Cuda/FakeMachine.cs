using GpuEngine.Cuda.Interop;

namespace GpuEngine.Tests.Cuda;

/// <summary>A folder that stands for the root of a disk, with variables of its own.</summary>
internal sealed class FakeMachine : IDisposable
{
    private readonly Dictionary<string, string> _variables = [];

    public string Root { get; } = Directory.CreateTempSubdirectory("gpuengine-machine-").FullName;

    public SearchMachine Linux => new() { IsWindows = false, Variable = Variable, Root = Root };

    /// <summary>Windows rules over the same folder; its paths are written with forward slashes and without a drive.</summary>
    public SearchMachine Windows => new() { IsWindows = true, Variable = Variable, Root = Root };

    public string this[string variable]
    {
        set => _variables[variable] = value;
    }

    /// <summary>Makes files, their folders included.</summary>
    public void Add(params string[] paths)
    {
        foreach (var path in paths)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Root + path)!);
            File.WriteAllText(Root + path, "");
        }
    }

    /// <summary>Makes a link whose target is read as a path of the fake machine.</summary>
    public void Link(string path, string target)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Root + path)!);
        File.CreateSymbolicLink(Root + path, target);
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);

    private string? Variable(string name) => _variables.GetValueOrDefault(name);
}
