using System.Diagnostics;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>The real command in a process of its own: exit code and both streams are what a user gets.</summary>
internal static class Gpuengine
{
    private static readonly string Assembly = Path.Combine(AppContext.BaseDirectory, "gpuengine.dll");

    public static Result Run(params string[] arguments) => Finish(Start(null, arguments));

    public static Result Run(string? folder, string[] arguments) => Finish(Start(folder, arguments));

    /// <summary>With environment variables of its own.</summary>
    public static Result Run(IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        var start = Command(null, arguments);
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return Finish(Process.Start(start)!);
    }

    private static Result Finish(Process started)
    {
        using var process = started;
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        process.WaitForExit();
        return new Result(process.ExitCode, output.Result, error.Result);
    }

    public static Process Start(string? folder, params string[] arguments) => Process.Start(Command(folder, arguments))!;

    private static ProcessStartInfo Command(string? folder, string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } p && Path.GetFileNameWithoutExtension(p) == "dotnet" ? p : "dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? Path.GetTempPath(),
        };
        start.ArgumentList.Add(Assembly);
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        return start;
    }

    public sealed record Result(int ExitCode, string Output, string Error)
    {
        /// <summary>Checks for the promised form of a user error: code 2, one sentence on stderr, no stack trace, nothing on stdout.</summary>
        public void IsUserError(params string[] mentions)
        {
            Assert.True(ExitCode == 2, $"exit code {ExitCode}\n{Output}\n{Error}");
            Assert.Equal("", Output);
            var lines = Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.True(lines.Length == 1, Error);
            Assert.StartsWith("gpuengine: ", lines[0]);
            Assert.DoesNotContain("   at ", Error);
            foreach (var mention in mentions) Assert.Contains(mention, Error);
        }
    }
}
