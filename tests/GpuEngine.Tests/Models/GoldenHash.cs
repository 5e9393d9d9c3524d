namespace GpuEngine.Tests.Models;

/// <summary>The numbers that the golden scripts and the tests both make: a hash in place of a random generator (tests/golden/networks.py).</summary>
internal static class GoldenHash
{
    /// <summary>Element <paramref name="index"/> of tensor <paramref name="tensor"/>, 32 bits.</summary>
    public static uint Mix(int tensor, int index)
    {
        var h = unchecked((uint)index * 0x9E3779B1 + (uint)tensor * 0x85EBCA77 + 1);
        h = unchecked((h ^ (h >> 16)) * 0x85EBCA6B);
        h = unchecked((h ^ (h >> 13)) * 0xC2B2AE35);
        return h ^ (h >> 16);
    }

    /// <summary>The same in [-1, 1).</summary>
    public static double Unit(int tensor, int index) => (Mix(tensor, index) >> 8) * Math.ScaleB(1, -23) - 1;
}
