using System.CommandLine;
using GpuEngine.Cli.Commands;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using GpuEngine.Nn.Training;

namespace GpuEngine.Cli;

/// <summary>
/// The root command and the rules that all commands share: exit code 0 when done, 1 when the run failed, 2 for bad usage or bad
/// input, the reason in one sentence on stderr.
/// </summary>
internal static class CommandLine
{
    public const int Done = 0, Failed = 1, BadUsage = 2;

    public static int Run(string[] args)
    {
        var parsed = Root().Parse(args);
        try
        {
            if (parsed.Errors.Count > 0) throw new UserException(Usage.Explain(parsed));
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (Exception e) when (e is UserException or ShapeException)
        {
            return Say(e.Message, BadUsage);
        }
        catch (Exception e) when (e is TrainingFailedException or CudaException or KernelCompileException or OutOfDeviceMemoryException)
        {
            return Say(e.Message, Failed);
        }
    }

    /// <summary>What the parser does not understand of a command, without running it.</summary>
    internal static IReadOnlyList<string> Problems(string[] args) => [.. Root().Parse(args).Errors.Select(e => e.Message)];

    private static RootCommand Root()
    {
        const string Summary = """
            GpuEngine: train deep networks, prove their kernels, and see where their time and memory go.

            Exit codes: 0 done, 1 the run failed, 2 bad usage or bad input.
            """;
        return new RootCommand(Summary)
        {
            DoctorCommand.Create(), TrainCommand.Create(), EvalCommand.Create(), CompareCommand.Create(), OpCommand.Create(), MemoryCommand.Create(),
            KernelsCommand.Create(),
        };
    }

    private static int Say(string sentence, int code)
    {
        System.Console.Error.WriteLine($"gpuengine: {sentence}");
        return code;
    }
}
