namespace GpuEngine.Nn.Training;

/// <summary>A run that could not go on although it was asked for correctly: the loss is no longer a number, say.</summary>
public sealed class TrainingFailedException(string message, Exception? cause = null) : Exception(message, cause);
