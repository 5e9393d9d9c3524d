using System.Runtime.CompilerServices;

// A struct is exactly its bytes: no marshalling of bool, char, string or layout behind our back.
[assembly: DisableRuntimeMarshalling]

// The raw bindings are not part of the public surface; their layouts and enum values are proved by tests.
[assembly: InternalsVisibleTo("GpuEngine.Tests")]
[assembly: InternalsVisibleTo("GpuEngine.Bench")]

// The launch path builds its arguments on the stack; nothing there is read before it is written.
[module: SkipLocalsInit]
