namespace GpuEngine.Cuda.Interop;

/// <summary>Lists where a library may be, best place first. Pure: nothing is loaded.</summary>
internal static class LibraryCandidates
{
    /// <summary>Folders searched before everything else, separated as in PATH.</summary>
    public const string FolderVariable = "GPUENGINE_CUDA_LIBRARY_PATH";

    /// <summary>
    /// The candidates of <paramref name="descriptor"/>. Names whose CUDA major version is above
    /// <paramref name="driverMajor"/> (0: unknown) come last in each folder, so that doctor can say why they are not used.
    /// </summary>
    public static IReadOnlyList<LibraryCandidate> List(LibraryDescriptor descriptor, SearchMachine machine, int driverMajor)
    {
        // Who names a file wants that file: falling back silently would hide a typo.
        if (machine.Variable(descriptor.Variable) is { Length: > 0 } file)
            return [new(file, LibrarySource.Environment)];

        var names = descriptor.Files(machine.IsWindows)
            .OrderBy(f => driverMajor > 0 && f.CudaMajor > driverMajor)
            .Select(f => f.Name)
            .ToArray();
        var candidates = new List<LibraryCandidate>();
        foreach (var folder in machine.VariableList(FolderVariable))
            AddFolder(folder, LibrarySource.Environment);
        foreach (var name in names)
            candidates.Add(new(name, LibrarySource.SystemLoader));

        if (descriptor.Library == CudaLibrary.Driver)
        {
            // Never a toolkit's folder: its stubs/libcuda.so loads and then fails every call.
            if (!machine.IsWindows)
            {
                foreach (var folder in DriverFolders)
                    AddFolder(folder, LibrarySource.DriverFolder);
            }

            return candidates;
        }

        foreach (var folder in ToolkitFolders(machine))
            AddFolder(folder, LibrarySource.Toolkit);
        if (machine.Variable("CONDA_PREFIX") is { Length: > 0 } conda)
            AddFolder(SearchMachine.Join(conda, machine.IsWindows ? "Library/bin" : "lib"), LibrarySource.Conda);
        foreach (var site in PythonFolders.SitePackages(machine))
        {
            foreach (var wheel in descriptor.Wheels(machine.IsWindows))
                AddFolder(SearchMachine.Join(site, wheel), LibrarySource.PythonWheel);
            // PyTorch for Windows carries the libraries in its own wheel.
            if (machine.IsWindows)
                AddFolder(SearchMachine.Join(site, "torch/lib"), LibrarySource.PythonWheel);
        }

        return candidates;

        void AddFolder(string folder, LibrarySource source)
        {
            if (!machine.DirectoryExists(folder))
                return;
            foreach (var name in names)
            {
                var candidate = new LibraryCandidate(SearchMachine.Join(folder, name), source);
                if (!candidates.Contains(candidate))
                    candidates.Add(candidate);
            }
        }
    }

    /// <summary>Folders of installed toolkits: the variables first, then the newest version.</summary>
    public static IReadOnlyList<string> ToolkitFolders(SearchMachine machine)
    {
        var roots = new List<string>();
        foreach (var variable in (ReadOnlySpan<string>)["CUDA_PATH", "CUDA_HOME"])
        {
            if (machine.Variable(variable) is { Length: > 0 } root)
                roots.Add(root);
        }

        if (machine.IsWindows)
        {
            var programs = machine.Variable("ProgramFiles") ?? "C:/Program Files";
            roots.AddRange(machine.Directories(
                SearchMachine.Join(programs, "NVIDIA GPU Computing Toolkit/CUDA"), "v*"));
        }
        else
        {
            roots.Add("/usr/local/cuda");
            roots.AddRange(machine.Directories("/usr/local", "cuda-*"));
            roots.Add("/opt/cuda");
        }

        // CUDA 13 for Windows moved its libraries from bin to bin/x64.
        string[] below = machine.IsWindows
            ? ["bin/x64", "bin"]
            : ["lib64", machine.IsArm64 ? "targets/sbsa-linux/lib" : "targets/x86_64-linux/lib", "lib"];
        return [.. roots.Distinct().SelectMany(_ => below, (root, sub) => SearchMachine.Join(root, sub))
            .Where(machine.DirectoryExists)];
    }

    private static readonly string[] DriverFolders =
    [
        "/usr/lib/wsl/lib",
        "/usr/local/nvidia/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/run/opengl-driver/lib",
    ];
}
