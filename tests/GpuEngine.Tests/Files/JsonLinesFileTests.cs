using System.Globalization;
using System.Text;
using GpuEngine.Core;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.Files;

public class JsonLinesFileTests
{
    [Fact]
    public void Every_kind_of_value_is_written_to_read_back_the_same()
    {
        using var folder = new TemporaryFolder();
        using (var file = JsonLinesFile.Open(folder["m.jsonl"]))
        {
            file.Append(
                ("epoch", 1), ("step", 1L << 53), ("train_loss", 0.1f), ("val_loss", 0.1), ("lr", 1e-300),
                ("name", "a\n\"b"), ("best", true), ("none", null), ("bytes", ulong.MaxValue), ("price", 1.10m),
                ("small", (byte)3));
            file.Append();
        }

        Assert.Equal(
            "{\"epoch\":1,\"step\":9007199254740992,\"train_loss\":0.1,\"val_loss\":0.1,\"lr\":1E-300," +
            "\"name\":\"a\\n\\u0022b\",\"best\":true,\"none\":null,\"bytes\":18446744073709551615,\"price\":1.10," +
            "\"small\":3}\n{}\n",
            File.ReadAllText(folder["m.jsonl"]));
    }

    [Fact]
    public void Numbers_do_not_depend_on_the_language_of_the_machine()
    {
        using var folder = new TemporaryFolder();
        var before = CultureInfo.CurrentCulture;
        try
        {
            var comma = (CultureInfo)CultureInfo.InvariantCulture.Clone();
            comma.NumberFormat.NumberDecimalSeparator = ",";
            comma.NumberFormat.NegativeSign = "~";
            CultureInfo.CurrentCulture = comma;
            using var file = JsonLinesFile.Open(folder["m"]);
            file.Append(("x", -1.5), ("n", -2));
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }

        Assert.Equal("{\"x\":-1.5,\"n\":-2}\n", File.ReadAllText(folder["m"]));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    public void What_JSON_has_no_number_for_becomes_null(double value)
    {
        using var folder = new TemporaryFolder();
        using (var file = JsonLinesFile.Open(folder["m"])) file.Append(("d", value), ("f", (float)value));
        Assert.Equal("{\"d\":null,\"f\":null}\n", File.ReadAllText(folder["m"]));
    }

    [Fact]
    public void Each_line_is_there_at_once_for_other_readers()
    {
        using var folder = new TemporaryFolder();
        using var file = JsonLinesFile.Open(folder["m"]);
        for (var step = 1; step <= 3; step++)
        {
            file.Append(("step", step));
            Assert.Equal(step, JsonLinesFile.Read(folder["m"]).Count);
        }

        file.FlushToDisk();
        Assert.Equal([1, 2, 3], JsonLinesFile.Read(folder["m"]).Select(e => e.GetProperty("step").GetInt32()));
        Assert.Empty(JsonLinesFile.Read(folder["missing"]));
    }

    [Fact]
    public void Killed_at_any_byte_only_the_last_line_is_lost()
    {
        using var folder = new TemporaryFolder();
        // Longer than the piece in which the end is searched, so that the search takes several.
        var longLine = $"{{\"step\":2,\"text\":\"{new string('x', 9000)}\"}}\n";
        const string first = "{\"step\":1}\n";
        var bytes = Encoding.UTF8.GetBytes(first + longLine);
        int[] late = [4000, 5000, 9000, bytes.Length - 2, bytes.Length - 1, bytes.Length];
        foreach (var length in Enumerable.Range(0, 30).Concat(late))
        {
            File.WriteAllBytes(folder["m"], bytes[..length]);
            var readBefore = JsonLinesFile.Read(folder["m"]).Count;
            using (var file = JsonLinesFile.Open(folder["m"])) file.Append(("step", 9));
            var steps = JsonLinesFile.Read(folder["m"]).Select(e => e.GetProperty("step").GetInt32()).ToArray();
            // An object that lacks only its line end is whole.
            int[] expected = length < first.Length - 1 ? [9] : length < bytes.Length - 1 ? [1, 9] : [1, 2, 9];
            Assert.Equal(expected, steps);
            Assert.Equal(expected.Length - 1, readBefore);
        }
    }

    [Fact]
    public void Truncation_drops_later_lines_and_appending_goes_on()
    {
        using var folder = new TemporaryFolder();
        using var file = JsonLinesFile.Open(folder["m"]);
        file.Append(("note", "no step"));
        for (var step = 10; step <= 50; step += 10) file.Append(("step", step), ("loss", 0.1 + step));
        Assert.Equal(0, file.TruncateAfter(50));
        Assert.Equal(2, file.TruncateAfter(30));
        file.Append(("step", 31));
        Assert.Equal(
            "{\"note\":\"no step\"}\n{\"step\":10,\"loss\":10.1}\n{\"step\":20,\"loss\":20.1}\n" +
            "{\"step\":30,\"loss\":30.1}\n{\"step\":31}\n",
            File.ReadAllText(folder["m"]));
        Assert.Equal(5, file.RemoveWhere(_ => true));
        Assert.Equal("", File.ReadAllText(folder["m"]));
        Assert.Equal(["m"], folder.Names());
    }

    [Theory]
    [InlineData("{\"step\":1}\n{broken}\n{\"step\":3}\n", 2)]
    [InlineData("\n5\n", 2)]
    [InlineData("[]\n{}\n", 1)]
    public void A_broken_line_before_the_last_is_named_and_nothing_is_dropped(string text, int line)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["m"], text);
        using var file = JsonLinesFile.Open(folder["m"]);
        var e = Assert.Throws<UserException>(() => file.TruncateAfter(0));
        Assert.Equal($"Line {line} of '{folder["m"]}' is not a JSON object; correct or delete that line.", e.Message);
        Assert.Equal(text, File.ReadAllText(folder["m"]));
    }

    [Fact]
    public void A_full_disk_is_one_sentence_and_leaves_whole_lines()
    {
        using var disk = new SmallDisk("size=8k");
        using var file = JsonLinesFile.Open(disk["m"]);
        var text = new string('x', 1000);
        var e = Assert.Throws<UserException>(() =>
        {
            for (var step = 0; step < 100; step++) file.Append(("step", step), ("text", text));
        });
        Assert.StartsWith($"Cannot write '{disk["m"]}': the disk is full, ", e.Message);
        Assert.Equal(8, JsonLinesFile.Read(disk["m"]).Count);
        Assert.EndsWith("}\n", File.ReadAllText(disk["m"]));
    }

    [Fact]
    public void The_full_device_is_a_full_disk()
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "Needs /dev/full.");
        using var file = JsonLinesFile.Open("/dev/full");
        var e = Assert.Throws<UserException>(() => file.Append(("step", 1)));
        Assert.StartsWith("Cannot write '/dev/full': the disk is full, 11 bytes are needed", e.Message);
    }

    [Fact]
    public void Misuse_and_wrong_paths()
    {
        using var folder = new TemporaryFolder();
        using (var file = JsonLinesFile.Open(folder["m"]))
        {
            Assert.Throws<ArgumentException>(() => file.Append(("x", new object())));
            file.Append(("x", 1));
        }

        Assert.Equal("{\"x\":1}\n", File.ReadAllText(folder["m"]));
        Directory.CreateDirectory(folder["sub"]);
        Refused("does not exist", () => JsonLinesFile.Open(folder["no/m"]));
        Refused("it is a folder", () => JsonLinesFile.Open(folder["sub"]));
        Refused("it is a folder", () => JsonLinesFile.Read(folder["sub"]));
    }

    private static void Refused(string expected, Func<object> open) =>
        Assert.Contains(expected, Assert.Throws<UserException>(open).Message);
}
