using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>
/// The binary version of CIFAR (A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009): records
/// of one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then 1024 red, 1024 green and 1024 blue bytes.
/// </summary>
internal static class CifarFile
{
    public static readonly ExampleShape Shape = new(3, 32, 32);
    private const int CoarseClasses = 20;

    /// <summary>Reads one record per label asked for; the fine label is the one kept of two.</summary>
    /// <exception cref="UserException">The file is not what it should be, or a label is out of range.</exception>
    public static void Read(DataFile file, int labelBytes, int classCount, Span<byte> pixels, Span<byte> labels)
    {
        const int RecordsAtOnce = 64;   // unpacking one record at a time costs a sixth more
        var record = labelBytes + Shape.Length;
        var expected = (long)record * labels.Length;
        var buffer = new byte[RecordsAtOnce * record];
        for (var start = 0; start < labels.Length; start += RecordsAtOnce)
        {
            var records = buffer.AsSpan(0, record * Math.Min(RecordsAtOnce, labels.Length - start));
            file.Read(records, expected);
            for (var i = start; records.Length > 0; i++, records = records[record..])
            {
                labels[i] = records[labelBytes - 1];
                records[labelBytes..record].CopyTo(pixels[(i * Shape.Length)..]);
                if (labelBytes == 1 || records[0] < CoarseClasses) continue;
                throw new UserException(
                    $"Coarse label {records[0]} of image {i} in '{file.Path}' is out of range; {CoarseClasses} classes "
                    + $"have labels 0 to {CoarseClasses - 1}.");
            }
        }

        file.ReadEnd();
        IdxFile.CheckLabels(labels, classCount, file.Path);
    }
}
