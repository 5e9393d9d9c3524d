using System.CommandLine;
using System.CommandLine.Parsing;
using GpuEngine.Core;

namespace GpuEngine.Cli;

/// <summary>Turns what the parser did not understand into one sentence that names the nearest valid option.</summary>
internal static class Usage
{
    public static string Explain(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        var path = string.Join(" ", Path(parsed.CommandResult));
        foreach (var token in parsed.UnmatchedTokens)
        {
            if (token.StartsWith('-'))
            {
                var names = command.Options.Where(o => !o.Hidden).Select(o => o.Name).ToList();
                return NearestName.Sentence($"option of `{path}`", token.Split('=')[0], names) + $" See `{path} --help`.";
            }

            if (command.Subcommands.Count > 0)
                return NearestName.Sentence($"command of `{path}`", token, [.. command.Subcommands.Select(c => c.Name)]) + $" See `{path} --help`.";
            return $"`{path}` does not take '{token}'; see `{path} --help`.";
        }

        return $"{parsed.Errors[0].Message.TrimEnd('.')}; see `{path} --help`.";
    }

    private static IEnumerable<string> Path(CommandResult result)
    {
        if (result.Parent is CommandResult parent)
        {
            foreach (var name in Path(parent)) yield return name;
        }

        yield return result.Parent is null ? "gpuengine" : result.Command.Name;
    }
}
