using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>
/// Commands in the documentation and in the examples of --help are understood by the parser. The main ones are really run, in
/// <see cref="CommandTests"/>.
/// </summary>
public partial class DocumentationTests
{
    [Fact]
    public void Commands_in_the_readme_parse()
    {
        var commands = Commands(File.ReadAllText(Path.Combine(Root(), "README.md")));
        Assert.True(commands.Count >= 8, "README shows fewer commands than it did");
        Assert.All(commands, c => Assert.Equal([], ProblemsOf(c)));
    }

    [Theory]
    [InlineData("train")]
    [InlineData("eval")]
    [InlineData("op")]
    [InlineData("memory")]
    [InlineData("doctor")]
    [InlineData("kernels")]
    [InlineData("kernels", "list")]
    [InlineData("kernels", "check")]
    [InlineData("kernels", "compile")]
    [InlineData("kernels", "stats")]
    [InlineData("kernels", "traffic")]
    public void Examples_of_help_parse(params string[] command)
    {
        var commands = Commands(Gpuengine.Run([.. command, "--help"]).Output);
        Assert.NotEmpty(commands);
        Assert.All(commands, c => Assert.Equal([], ProblemsOf(c)));
    }

    [Fact]
    public void Folders_and_scripts_that_the_documentation_names_exist()
    {
        var root = Root();
        var text = File.ReadAllText(Path.Combine(root, "README.md")) + File.ReadAllText(Path.Combine(root, "CONTRIBUTING.md"));
        foreach (Match match in PathInText().Matches(text))
        {
            var path = match.Groups[1].Value.TrimEnd('/');
            if (path.Contains("Yours", StringComparison.Ordinal)) continue;
            Assert.True(Path.Exists(Path.Combine(root, path)), $"{path} is named but does not exist");
        }
    }

    private static IReadOnlyList<string> ProblemsOf(string command) => Cli.CommandLine.Problems(command.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..]);

    private static List<string> Commands(string text) =>
    [
        .. text.Split('\n').Select(line => line.Trim()).Where(line => line.StartsWith("gpuengine ", StringComparison.Ordinal) && !line.Contains('|') && !line.EndsWith("[options]", StringComparison.Ordinal))
            .Select(line => Explanation().Split(line)[0]),
    ];

    private static string Root([CallerFilePath] string file = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, "../../.."));

    // Two or more spaces set a command apart from what is said of it.
    [GeneratedRegex(" {2,}")]
    private static partial Regex Explanation();

    [GeneratedRegex(@"`((?:src|kernels|tests|bench|tools)/[A-Za-z0-9_./-]*)`")]
    private static partial Regex PathInText();
}
