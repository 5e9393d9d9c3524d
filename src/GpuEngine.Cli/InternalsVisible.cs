using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("GpuEngine.Tests")]
