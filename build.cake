// One command per need: `dotnet cake` tests; `--target=NAME` runs another task.
var target = Argument("target", "Test");
var configuration = Argument("configuration", "Release");
const string Solution = "GpuEngine.sln";

Task("Restore")
    .Description("Restores the NuGet packages.")
    .Does(() => DotNetRestore(Solution));

Task("Build")
    .Description("Builds everything; warnings are errors.")
    .IsDependentOn("Restore")
    .Does(() => DotNetBuild(Solution, new DotNetBuildSettings { Configuration = configuration, NoRestore = true }));

Task("Test")
    .Description("Runs every test that this machine can run and counts those it cannot.")
    .IsDependentOn("Build")
    .Does(() => Run("dotnet", $"test --solution {Solution} -c {configuration} --no-build"));

Task("Format")
    .Description("Fails when a file is not formatted as .editorconfig says.")
    .IsDependentOn("Restore")
    .Does(() => Run("dotnet", $"format {Solution} --verify-no-changes --no-restore"));

Task("Bench")
    .Description("Runs the benchmarks; --filter=NAME picks some.")
    .IsDependentOn("Build")
    .Does(() => Run("dotnet", $"run --project bench/GpuEngine.Bench -c {configuration} --no-build -- --filter {Argument("filter", "*")}"));

Task("GpuBundle")
    .Description("Writes artifacts/gpu-bundle.tar.xz: build, .NET runtime, tests, bench and one script for a machine with a GPU but no .NET.")
    .IsDependentOn("Build")
    .Does(() => Run("bash", "tools/gpu-bundle/make.sh"));

RunTarget(target);

void Run(string command, string arguments)
{
    var code = StartProcess(command, arguments);
    if (code != 0) throw new CakeException($"`{command} {arguments}` ended with exit code {code}.");
}
