using GpuEngine.Cuda.Interop;
using Xunit;

namespace GpuEngine.Tests.Cuda;

public sealed class PythonFoldersTests : IDisposable
{
    private readonly FakeMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void No_python_means_no_folders() => Assert.Empty(PythonFolders.SitePackages(_machine.Linux));

    [Fact]
    public void PYTHONPATH_comes_first_then_the_active_environments()
    {
        _machine.Add("/extra/x", "/venv/lib/python3.12/site-packages/x", "/conda/lib/python3.11/site-packages/x");
        _machine["PYTHONPATH"] = "/extra:/not-there";
        _machine["VIRTUAL_ENV"] = "/venv";
        _machine["CONDA_PREFIX"] = "/conda";
        Assert.Equal(
            ["/extra", "/venv/lib/python3.12/site-packages", "/conda/lib/python3.11/site-packages"],
            PythonFolders.SitePackages(_machine.Linux));
    }

    [Fact]
    public void A_virtual_environment_on_PATH_gives_its_own_packages_and_those_behind_the_link()
    {
        _machine.Add("/opt/python/bin/python3.12", "/opt/python/lib/python3.12/site-packages/x", "/env/lib/python3.12/site-packages/x");
        _machine.Link("/opt/python/bin/python3", "python3.12");
        _machine.Link("/env/bin/python3", "/opt/python/bin/python3");
        _machine["PATH"] = "/usr/bin:/env/bin";
        Assert.Equal(
            ["/env/lib/python3.12/site-packages", "/opt/python/lib/python3.12/site-packages"],
            PythonFolders.SitePackages(_machine.Linux));
    }

    [Fact]
    public void The_first_python_on_PATH_wins()
    {
        _machine.Add("/a/bin/python3", "/a/lib/python3.10/site-packages/x", "/b/bin/python3", "/b/lib/python3.11/site-packages/x");
        _machine["PATH"] = "/a/bin:/b/bin";
        Assert.Equal(["/a/lib/python3.10/site-packages"], PythonFolders.SitePackages(_machine.Linux));
    }

    [Fact]
    public void Debian_and_the_user_have_folders_of_their_own_newest_version_first()
    {
        _machine.Add(
            "/home/u/.local/lib/python3.12/site-packages/x", "/usr/lib/python3/dist-packages/x",
            "/usr/local/lib/python3.9/dist-packages/x", "/usr/local/lib/python3.12/dist-packages/x");
        _machine["HOME"] = "/home/u";
        Assert.Equal(
            [
                "/home/u/.local/lib/python3.12/site-packages", "/usr/local/lib/python3.12/dist-packages",
                "/usr/local/lib/python3.9/dist-packages", "/usr/lib/python3/dist-packages",
            ],
            PythonFolders.SitePackages(_machine.Linux));
    }

    [Fact]
    public void A_circle_of_links_ends()
    {
        _machine.Link("/env/bin/python3", "/env/bin/python");
        _machine.Link("/env/bin/python", "/env/bin/python3");
        _machine["PATH"] = "/env/bin";
        Assert.Empty(PythonFolders.SitePackages(_machine.Linux));
    }

    [Fact]
    public void Windows_installations_and_virtual_environments_differ_in_where_python_lies()
    {
        _machine.Add(
            "/Python312/python.exe", "/Python312/Lib/site-packages/x", "/env/Scripts/python.exe", "/env/Lib/site-packages/x",
            "/Roaming/Python/Python312/site-packages/x");
        _machine["APPDATA"] = "/Roaming";
        _machine["PATH"] = "/Python312";
        Assert.Equal(
            ["/Python312/Lib/site-packages", "/Roaming/Python/Python312/site-packages"],
            PythonFolders.SitePackages(_machine.Windows));
        _machine["PATH"] = "/env/Scripts";
        Assert.Equal(
            ["/env/Lib/site-packages", "/Roaming/Python/Python312/site-packages"],
            PythonFolders.SitePackages(_machine.Windows));
    }
}
