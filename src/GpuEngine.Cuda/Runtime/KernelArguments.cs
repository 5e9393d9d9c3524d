using System.Runtime.CompilerServices;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// The arguments of one launch, packed on the stack: nothing is boxed, nothing allocated. Nobody checks them against the
/// kernel's parameter list at run time: count, order, types and bounds are the launcher's word (a test compares it with the
/// kernel's source).
/// </summary>
public ref struct KernelArguments
{
    /// <summary>Most arguments of one launch.</summary>
    public const int MaxCount = 48;

    /// <summary>Most bytes of one launch, each argument rounded up to 8.</summary>
    public const int MaxBytes = 768;

    private const int Word = sizeof(ulong);

    private Words _values;
    private Offsets _offsets;
    private int _words;

    /// <summary>No arguments yet. The storage is left as it is: only what is added is ever read.</summary>
    public KernelArguments()
    {
        Unsafe.SkipInit(out _values);
        Unsafe.SkipInit(out _offsets);
        Count = 0;
        _words = 0;
    }

    /// <summary>Arguments so far.</summary>
    public int Count { get; private set; }

    /// <summary>Adds a value: a number, or a struct laid out as the kernel's.</summary>
    public void Add<T>(T value) where T : unmanaged
    {
        var words = (Unsafe.SizeOf<T>() + Word - 1) / Word;
        if (Count == MaxCount || _words + words > MaxBytes / Word)
            ThrowFull();
        Unsafe.WriteUnaligned(ref Unsafe.As<ulong, byte>(ref _values[_words]), value);
        _offsets[Count] = (byte)_words;
        Count++;
        _words += words;
    }

    /// <summary>Adds the address of memory the kernel writes.</summary>
    public void Add<T>(DeviceSpan<T> span) where T : unmanaged => Add(span.Address.Value);

    /// <summary>Adds the address of memory the kernel reads.</summary>
    public void Add<T>(ReadOnlyDeviceSpan<T> span) where T : unmanaged => Add(span.Address.Value);

    /// <summary>
    /// Writes the address of each argument. This struct must not move while they are in use; as a ref struct it lives on the
    /// stack and does not, as long as nobody copies it.
    /// </summary>
    internal unsafe void Pointers(void** pointers)
    {
        var values = (ulong*)Unsafe.AsPointer(ref _values);
        for (var i = 0; i < Count; i++)
            pointers[i] = values + _offsets[i];
    }

    private static void ThrowFull() => throw new InvalidOperationException(
        $"A launch takes at most {MaxCount} arguments and {MaxBytes} bytes; pass a struct in device memory instead.");

    [InlineArray(MaxBytes / Word)]
    private struct Words
    {
        private ulong _first;
    }

    [InlineArray(MaxCount)]
    private struct Offsets
    {
        private byte _first;
    }
}
