using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace GpuEngine.Cuda.Runtime;

/// <summary>A kernel did not compile. The message holds the first error, the line it is in, the options and the whole log.</summary>
public sealed partial class KernelCompileException : Exception
{
    /// <summary>Reads file and line of the first error out of the log.</summary>
    public KernelCompileException(
        KernelSource source, string status, IReadOnlyList<string> options, string compiler, string log)
        : base(Describe(source, status, options, compiler, log))
    {
        (File, Line, Error) = FirstError(log) ?? (source.Name, 0, status);
        Status = status;
        Options = options;
        Log = log;
    }

    /// <summary>The file of the first error: the source or one of its headers.</summary>
    public string File { get; }

    /// <summary>Its line, from 1; 0 when the log names none.</summary>
    public int Line { get; }

    /// <summary>The first error's text.</summary>
    public string Error { get; }

    /// <summary>The compiler's status, such as NVRTC_ERROR_COMPILATION.</summary>
    public string Status { get; }

    /// <summary>What the compiler was given.</summary>
    public IReadOnlyList<string> Options { get; }

    /// <summary>Everything the compiler said.</summary>
    public string Log { get; }

    /// <summary>
    /// The first error of a log in the form of NVRTC, <c>file(line): error: text</c>, or of g++ and clang (the simulator's
    /// compilers), <c>file:line:column: error: text</c>.
    /// </summary>
    internal static (string File, int Line, string Error)? FirstError(string log)
    {
        var match = ErrorLine().Match(log);
        return match.Success
            ? (match.Groups["file"].Value, int.Parse(match.Groups["line"].Value, CultureInfo.InvariantCulture),
                match.Groups["text"].Value.Trim())
            : null;
    }

    private static string Describe(
        KernelSource source, string status, IReadOnlyList<string> options, string compiler, string log)
    {
        var text = new StringBuilder();
        if (FirstError(log) is var (file, line, error))
        {
            text.Append($"{file}({line}): {error}");
            if (LineOf(source, file, line) is { } excerpt)
                text.Append($"\n    {excerpt.Trim()}");
        }
        else
        {
            text.Append($"{source.Name} did not compile: {status}");
        }

        text.Append($"\nCompiler: {compiler}, {status}\nOptions: {string.Join(' ', options)}");
        if (log.Trim().Length > 0)
            text.Append($"\nLog:\n{log.TrimEnd()}");
        return text.ToString();
    }

    private static string? LineOf(KernelSource source, string file, int line)
    {
        var text = file == source.Name ? source.Text : source.Headers.GetValueOrDefault(file);
        return text?.Split('\n').ElementAtOrDefault(line - 1);
    }

    [GeneratedRegex(
        @"^(?<file>[^\n():]+)(?:\((?<line>\d+)\)|:(?<line>\d+)(?::\d+)?): (?:catastrophic |fatal )?error(?: #[\w-]+)?: (?<text>.*)$",
        RegexOptions.Multiline)]
    private static partial Regex ErrorLine();
}
