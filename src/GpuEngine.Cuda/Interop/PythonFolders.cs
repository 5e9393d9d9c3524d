namespace GpuEngine.Cuda.Interop;

/// <summary>Finds site-packages folders by path rules; no Python is started.</summary>
internal static class PythonFolders
{
    /// <summary>
    /// All site-packages folders that exist, in the order Python users expect: PYTHONPATH, the active virtual or conda
    /// environment, the python3 on PATH (its virtual environment first, then the installation behind its links), the
    /// user's own packages, the distribution's.
    /// </summary>
    public static IReadOnlyList<string> SitePackages(SearchMachine machine)
    {
        var folders = new List<string>();
        foreach (var folder in machine.VariableList("PYTHONPATH"))
            Add(folder);
        foreach (var variable in (ReadOnlySpan<string>)["VIRTUAL_ENV", "CONDA_PREFIX"])
        {
            if (machine.Variable(variable) is { Length: > 0 } prefix)
                AddPrefix(prefix);
        }

        foreach (var bin in machine.VariableList("PATH"))
        {
            var python = PythonIn(bin);
            if (python is null)
                continue;
            // bin/python3 of a virtual environment is a link to the interpreter it was made from: the folder of the link
            // holds the wheels, the folder of the target those of the installation.
            AddPrefix(Prefix(python));
            AddPrefix(Prefix(machine.ResolveLinks(python)));
            break;
        }

        if (machine.IsWindows)
        {
            if (machine.Variable("APPDATA") is { Length: > 0 } appData)
            {
                foreach (var version in machine.Directories(SearchMachine.Join(appData, "Python"), "Python3*"))
                    Add(SearchMachine.Join(version, "site-packages"));
            }
        }
        else
        {
            if (machine.Variable("HOME") is { Length: > 0 } home)
                AddPrefix(SearchMachine.Join(home, ".local"));
            AddPrefix("/usr/local");
            AddPrefix("/usr");
        }

        return folders;

        string? PythonIn(string bin)
        {
            foreach (var name in machine.IsWindows ? (ReadOnlySpan<string>)["python.exe"] : ["python3", "python"])
            {
                var path = SearchMachine.Join(bin, name);
                if (machine.FileExists(path))
                    return path;
            }

            return null;
        }

        // .../bin/python3 lies one folder below the prefix; Windows has python.exe in the prefix, in Scripts for a
        // virtual environment.
        string Prefix(string python)
        {
            var folder = SearchMachine.Parent(python);
            var isInstallation = machine.IsWindows && !folder.EndsWith("Scripts", StringComparison.OrdinalIgnoreCase);
            return isInstallation ? folder : SearchMachine.Parent(folder);
        }

        void AddPrefix(string prefix)
        {
            if (machine.IsWindows)
            {
                Add(SearchMachine.Join(prefix, "Lib", "site-packages"));
                return;
            }

            foreach (var lib in (ReadOnlySpan<string>)["lib", "lib64"])
            {
                foreach (var version in machine.Directories(SearchMachine.Join(prefix, lib), "python3*"))
                {
                    Add(SearchMachine.Join(version, "site-packages"));
                    Add(SearchMachine.Join(version, "dist-packages"));
                }
            }
        }

        void Add(string folder)
        {
            if (!folders.Contains(folder) && machine.DirectoryExists(folder))
                folders.Add(folder);
        }
    }
}
