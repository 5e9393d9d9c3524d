namespace GpuEngine.Core;

/// <summary>
/// A mistake of the person who called: bad usage, bad input, a file that is not what it should be.
/// The message is one plain sentence that names the file, option or tensor, says what was expected and what to do.
/// The command line prints it without a stack trace and ends with exit code 2.
/// </summary>
public sealed class UserException : Exception
{
    public UserException(string message) : base(message)
    {
    }

    public UserException(string message, Exception innerException) : base(message, innerException)
    {
    }
}
