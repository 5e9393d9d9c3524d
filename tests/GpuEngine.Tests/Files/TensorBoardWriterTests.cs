using GpuEngine.Core;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.Files;

public class TensorBoardWriterTests
{
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch.AddSeconds(1_700_000_000.25);

    [Fact]
    public void The_checksum_is_that_of_the_standard()
    {
        Assert.Equal(0xE3069283u, Crc32C.Of("123456789"u8));
        // RFC 3720, B.4: 32 zeros, 32 ones, 0..31.
        Assert.Equal(0x8A9136AAu, Crc32C.Of(new byte[32]));
        Assert.Equal(0x62A8AB43u, Crc32C.Of(Enumerable.Repeat((byte)0xFF, 32).ToArray()));
        Assert.Equal(0x46DD794Eu, Crc32C.Of(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray()));
        Assert.Equal(0u, Crc32C.Of([]));
        // Tails of every length beside the 8-byte steps.
        var bytes = new byte[41];
        new Random(3).NextBytes(bytes);
        for (var n = 0; n <= bytes.Length; n++)
            Assert.Equal(EventFileParser.Crc32C(bytes.AsSpan(0, n)), Crc32C.Of(bytes.AsSpan(0, n)));
    }

    [Fact]
    public void The_file_is_named_and_begins_as_TensorBoard_expects()
    {
        using var folder = new TemporaryFolder();
        using var first = new TensorBoardWriter(folder["run"], clock: new FixedClock());
        using var second = new TensorBoardWriter(folder["run"], clock: new FixedClock());
        Assert.Equal(
            $"events.out.tfevents.1700000000.{Environment.MachineName}.{Environment.ProcessId}.0",
            Path.GetFileName(first.Path));
        Assert.EndsWith(".1", second.Path);
        var opening = Assert.Single(Events(first.Path));
        Assert.Equal(1_700_000_000.25, opening[1].Single());
        Assert.Equal("brain.Event:2", opening.Text(3));
    }

    [Fact]
    public void Scalars_come_back()
    {
        using var folder = new TemporaryFolder();
        using var writer = new TensorBoardWriter(folder.Folder, clock: new FixedClock());
        (string Tag, float Value, long Step)[] points =
        [
            ("train/loss", 0.1f, 0), ("caf\u00e9", float.NaN, 127), ("a", float.NegativeInfinity, 128),
            ("a", -0f, long.MaxValue),
        ];
        foreach (var (tag, value, step) in points) writer.AddScalar(tag, value, step);
        var events = Events(writer.Path).Skip(1).ToList();
        Assert.Equal(points.Length, events.Count);
        foreach (var (point, e) in points.Zip(events))
        {
            var summary = e.Message(5).Message(1);
            Assert.Equal(1_700_000_000.25, e[1].Single());
            Assert.Equal(point.Step, e[2].Single());
            Assert.Equal(point.Tag, summary.Text(1));
            // As bits, so that NaN equals NaN and the sign of zero counts.
            var value = (float)summary[2].Single();
            Assert.Equal(BitConverter.SingleToInt32Bits(point.Value), BitConverter.SingleToInt32Bits(value));
        }
    }

    [Fact]
    public void A_histogram_holds_every_finite_value_in_its_bucket()
    {
        using var folder = new TemporaryFolder();
        using var writer = new TensorBoardWriter(folder.Folder);
        float[] values =
            [0f, 0f, -0f, 1f, 1.05f, -1e-20f, 1e-13f, 3e38f, -3e38f, 5e-4f, float.NaN, float.PositiveInfinity];
        writer.AddHistogram("w", values, 7);
        var histogram = Events(writer.Path)[1].Message(5).Message(1).Message(5);
        var finite = values.Where(float.IsFinite).Select(v => (double)v).ToArray();
        Assert.Equal(finite.Min(), histogram[1].Single());
        Assert.Equal(finite.Max(), histogram[2].Single());
        Assert.Equal((double)finite.Length, histogram[3].Single());
        // Summed in double in the same order: equal, not just close.
        Assert.Equal(finite.Sum(), histogram[4].Single());
        Assert.Equal(finite.Sum(v => v * v), histogram[5].Single());
        var limits = histogram.Doubles(6);
        var counts = histogram.Doubles(7);
        Assert.Equal(limits.Order(), limits);
        for (var i = 0; i < limits.Length; i++)
        {
            var left = i == 0 ? double.NegativeInfinity : limits[i - 1];
            Assert.Equal(finite.Count(v => v >= left && v < limits[i]), counts[i]);
            Assert.False(i > 0 && counts[i] == 0 && counts[i - 1] == 0, "two empty buckets side by side");
        }

        Assert.Equal(finite.Length, counts.Sum());
        // The bucket of 1.0 is a tenth wide: 1e-12 * 1.1^i.
        var one = Array.FindIndex(limits, l => l > 1);
        Assert.InRange(limits[one], 1.0, 1.1);
    }

    [Fact]
    public void A_histogram_of_nothing_finite_is_left_out()
    {
        using var folder = new TemporaryFolder();
        using var writer = new TensorBoardWriter(folder.Folder);
        writer.AddHistogram("w", [], 1);
        writer.AddHistogram("w", [float.NaN, float.NegativeInfinity], 1);
        Assert.Single(Events(writer.Path));
    }

    [Fact]
    public void A_text_is_a_tensor_of_one_string_for_the_text_page()
    {
        using var folder = new TemporaryFolder();
        using var writer = new TensorBoardWriter(folder.Folder);
        writer.AddText("config", new string('x', 300) + "\u00e9", 3);
        var value = Events(writer.Path)[1].Message(5).Message(1);
        Assert.Equal("config/text_summary", value.Text(1));
        Assert.Equal("text", value.Message(9).Message(1).Text(1));
        var tensor = value.Message(8);
        Assert.Equal(7L, tensor[1].Single());
        Assert.Equal(1L, tensor.Message(2).Message(2)[1].Single());
        Assert.Equal(new string('x', 300) + "\u00e9", tensor.Text(8));
    }

    [Fact]
    public void A_resumed_run_tells_from_which_step_older_points_are_void()
    {
        using var folder = new TemporaryFolder();
        using var writer = new TensorBoardWriter(folder.Folder, purgeStep: 301);
        var events = Events(writer.Path);
        Assert.Equal(2, events.Count);
        Assert.Equal("brain.Event:2", events[0].Text(3));
        Assert.Equal(301L, events[1][2].Single());
        Assert.Equal(1L, events[1].Message(7)[1].Single());
    }

    [Fact]
    public void A_full_disk_is_one_sentence_and_leaves_whole_records()
    {
        using var disk = new SmallDisk("size=8k");
        using var writer = new TensorBoardWriter(disk.Folder);
        var text = new string('x', 1000);
        var e = Assert.Throws<UserException>(() =>
        {
            for (var step = 0; step < 100; step++) writer.AddText("t", text, step);
        });
        Assert.StartsWith($"Cannot write '{writer.Path}': the disk is full, ", e.Message);
        Assert.Equal(8, Events(writer.Path).Count);
    }

    [Fact]
    public void A_folder_that_cannot_be_made_is_named()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["file"], "");
        var e = Assert.Throws<UserException>(() => new TensorBoardWriter(folder["file/run"]));
        Assert.Contains($"'{folder["file"]}' is a file, not a folder", e.Message);
    }

    private static List<ILookup<int, object>> Events(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return [.. EventFileParser.Records(bytes).Select(EventFileParser.Fields)];
    }

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => Now;
    }
}
