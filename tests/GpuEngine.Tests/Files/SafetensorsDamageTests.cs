using System.IO.Pipes;
using System.Text;
using GpuEngine.Core;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.Files;

public class SafetensorsDamageTests
{
    public static readonly TheoryData<string, int, string> WrongHeaders = new()
    {
        { "", 0, "does not begin with '{'" },
        { " {}", 0, "does not begin with '{'" },
        { "[]", 0, "does not begin with '{'" },
        { "{", 0, "not well-formed JSON at byte " },
        { "{}x", 0, "not well-formed JSON" },
        { "{}{}", 0, "not well-formed JSON" },
        { """{"a":1}""", 0, "the entry of tensor 'a' is a number, expected an object" },
        { """{"line\nbreak":1}""", 0, "the entry of tensor 'line?break'" },
        { """{"a":{}}""", 0, "tensor 'a' has no 'dtype'" },
        { """{"a":{"dtype":"U8","shape":[0]}}""", 0, "tensor 'a' has no 'data_offsets'" },
        { """{"a":{"dtype":"U8","dtype":"U8"}}""", 0, "tensor 'a' gives 'dtype' twice" },
        { One("7", "[0]", "[0,0]"), 0, "the dtype of tensor 'a' is a number" },
        { One("\"f32\"", "[0]", "[0,0]"), 0, "tensor 'a' has the dtype 'f32', expected one of F64, F32" },
        { One("\"1\"", "[0]", "[0,0]"), 0, "has the dtype '1', expected one of" },
        { One("\"U8\"", "[-1]", "[0,0]"), 0, "the shape of tensor 'a' holds '-1', expected whole numbers" },
        { One("\"U8\"", "[1.5]", "[0,1]"), 1, "the shape of tensor 'a' holds '1.5'" },
        { One("\"U8\"", "[18446744073709551614]", "[0,1]"), 1, "holds '18446744073709551614'" },
        { One("\"U8\"", "[\"1\"]", "[0,1]"), 1, "the shape of tensor 'a' holds a string" },
        { One("\"U8\"", "1", "[0,1]"), 1, "the shape of tensor 'a' is a number, expected an array" },
        { One("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "has more bytes than a file can hold" },
        { One("\"F32\"", "[2,2]", "[0,4]"), 4, "needs 16 bytes, but its data_offsets [0, 4] span 4" },
        { One("\"F32\"", "[1]", "[0,8]"), 8, "needs 4 bytes, but its data_offsets [0, 8] span 8" },
        { One("\"U8\"", "[1]", "[1,0]"), 1, "the data_offsets of tensor 'a' are [1, 0], expected a begin and an end" },
        { One("\"U8\"", "[1]", "[0]"), 1, "the data_offsets of tensor 'a' are [0]" },
        { One("\"U8\"", "[3]", "[0,3]"), 2, "tensor 'a' ends at byte 3 of the data, but only 2 bytes are there" },
        { One("\"U8\"", "[2]", "[0,2]"), 3, "1 bytes after the last tensor" },
        { One("\"U8\"", "[2]", "[1,3]"), 3, "1 bytes before tensor 'a' belong to no tensor" },
        {
            $"{{{Entry("a", "\"U8\"", "[2]", "[0,2]")},{Entry("b", "\"U8\"", "[2]", "[1,3]")}}}", 3,
            "tensor 'b' begins at byte 1 of the data, inside tensor 'a', which ends at byte 2"
        },
        {
            $"{{{Entry("a", "\"U8\"", "[0]", "[0,0]")},{Entry("a", "\"U8\"", "[0]", "[0,0]")}}}", 0,
            "two tensors named 'a'"
        },
        { $"{{{Entry("\\ud800", "\"U8\"", "[0]", "[0,0]")}}}", 0, "text that is not Unicode" },
        { """{"__metadata__":{"k":1}}""", 0, "the metadata 'k' is a number, expected a string" },
        { """{"__metadata__":[]}""", 0, "'__metadata__' is an array" },
        { """{"__metadata__":{},"__metadata__":{}}""", 0, "two '__metadata__'" },
        { """{"__metadata__":{"k":"","k":""}}""", 0, "its metadata has 'k' twice" },
        { """{"__metadata__":{"gpuengine.sha256":"abc"}}""", 0, "is not 64 lower-case hexadecimal digits" },
    };

    [Fact]
    public void Cut_at_any_byte_it_is_refused()
    {
        using var folder = new TemporaryFolder();
        var whole = WholeFile(folder);
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(folder["cut"], whole[..length]);
            var e = Assert.Throws<UserException>(() => SafetensorsFile.Open(folder["cut"]).Dispose());
            Assert.StartsWith($"Cannot read '{folder["cut"]}' as safetensors: ", e.Message);
        }
    }

    [Fact]
    public void With_any_byte_changed_it_is_refused_or_its_checksum_is_gone()
    {
        using var folder = new TemporaryFolder();
        var whole = WholeFile(folder);
        var withoutChecksum = 0;
        for (var at = 0; at < whole.Length; at++)
        {
            var changed = (byte[])whole.Clone();
            changed[at] ^= (byte)(1 << (at % 8));
            File.WriteAllBytes(folder["changed"], changed);
            try
            {
                using var file = SafetensorsFile.Open(folder["changed"]);
                Assert.False(file.VerifyChecksum());
                withoutChecksum++;
            }
            catch (UserException)
            {
                // As it should be.
            }
        }

        // Only a change in one of the two keys that lead to the checksum can make it vanish: 12 + 16 characters.
        Assert.InRange(withoutChecksum, 1, 12 + 16);
    }

    [Theory]
    [MemberData(nameof(WrongHeaders))]
    public void A_wrong_header_is_told_in_one_sentence(string json, int dataBytes, string expected)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["a"], SafetensorsTests.Bytes(json, new byte[dataBytes]));
        var e = Assert.Throws<UserException>(() => SafetensorsFile.Open(folder["a"]).Dispose());
        Assert.Contains(expected, e.Message);
        Assert.StartsWith($"Cannot read '{folder["a"]}' as safetensors: ", e.Message);
        Assert.DoesNotContain('\n', e.Message);
    }

    [Fact]
    public void Bytes_that_are_no_Unicode_are_refused()
    {
        using var folder = new TemporaryFolder();
        var bytes = SafetensorsTests.Bytes("{\"?\":1}", []);
        bytes[10] = 0xFF;
        File.WriteAllBytes(folder["a"], bytes);
        Assert.Throws<UserException>(() => SafetensorsFile.Open(folder["a"]).Dispose());
    }

    [Theory]
    [InlineData(0UL, "does not begin with '{'")]
    [InlineData(1UL, "not well-formed JSON")]
    [InlineData(9UL, "announce a header of 9 bytes, expected at most 8 in a file of 16 bytes")]
    [InlineData(16UL, "announce a header of 16 bytes, expected at most 8")]
    [InlineData((ulong)long.MaxValue, "announce a header of 9,223,372,036,854,775,807 bytes")]
    [InlineData(ulong.MaxValue, "announce a header of 18,446,744,073,709,551,615 bytes")]
    public void A_wrong_header_length_is_told(ulong length, string expected)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["a"], [.. BitConverter.GetBytes(length), .. "{}      "u8]);
        Opens(folder["a"], expected);
    }

    [Fact]
    public void A_header_beyond_the_limit_of_the_format_is_not_read()
    {
        using var folder = new TemporaryFolder();
        using (var stream = File.Create(folder["a"]))
        {
            stream.Write(BitConverter.GetBytes(100_000_001L));
            // A hole: the file has the length, but no blocks.
            stream.SetLength(200_000_000);
        }

        Opens(folder["a"], "expected at most 100,000,000 in a file of 200,000,000 bytes");
    }

    [Fact]
    public void A_fuzzed_header_opens_or_is_refused_and_what_opens_can_be_read()
    {
        using var folder = new TemporaryFolder();
        var whole = WholeFile(folder);
        var random = new Random(20);
        ReadOnlySpan<byte> syntax = "{}[]\",:0123456789-.eE\\u \0\xFF"u8;
        var opened = 0;
        for (var round = 0; round < 2000; round++)
        {
            var bytes = whole.ToList();
            for (var n = random.Next(1, 5); n > 0; n--)
            {
                var at = random.Next(8, bytes.Count);
                var value = random.Next(2) == 0 ? syntax[random.Next(syntax.Length)] : (byte)random.Next(256);
                switch (random.Next(4))
                {
                    case 0: bytes[at] = value; break;
                    case 1: bytes.Insert(at, value); break;
                    case 2: bytes.RemoveAt(at); break;
                    default:
                        bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(20), bytes.Count - at)));
                        break;
                }
            }

            File.WriteAllBytes(folder["fuzzed"], [.. bytes]);
            try
            {
                using var file = SafetensorsFile.Open(folder["fuzzed"]);
                foreach (var tensor in file.Tensors.Values) file.ReadInto(tensor.Name, new byte[tensor.ByteLength]);
                opened++;
                file.VerifyChecksum();
            }
            catch (UserException e)
            {
                Assert.DoesNotContain('\n', e.Message);
            }
        }

        // The fuzz must reach beyond the parser: some changed files still open (a changed digit of data, a renamed
        // tensor).
        Assert.InRange(opened, 20, 1800);
    }

    [Fact]
    public void A_file_cut_short_while_open_is_noticed()
    {
        using var folder = new TemporaryFolder();
        var whole = WholeFile(folder);
        using var file = SafetensorsFile.Open(folder["whole"]);
        using (var other = new FileStream(folder["whole"], FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            other.SetLength(whole.Length - 1);
        var e = Assert.Throws<UserException>(() => file.Read<byte>("mask"));
        Assert.Contains("cut short after it was opened", e.Message);
        Assert.Throws<UserException>(() => file.VerifyChecksum());
    }

    [Fact]
    public void What_is_no_safetensors_file_at_all_is_told_apart()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["sub"]);
        File.WriteAllBytes(folder["zip"], Encoding.ASCII.GetBytes("PK\x03\x04 and more than eight bytes"));
        File.WriteAllText(folder["text"], "a text of more than eight bytes");
        Opens(folder["missing"], "there is no such file; check the name");
        Opens(folder["missing/a"], "there is no such file; check the name");
        Opens(folder["text/a"], "Cannot read");
        Opens(folder["sub"], "it is a folder; give the name of a file");
        Opens(folder["zip"], "it is a zip archive, as PyTorch's .pt files are; convert it");
        Opens(folder["text"], "announce a header of");
        Opens("", "empty");
    }

    [Fact]
    public void A_pipe_is_refused()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Needs /proc/self/fd.");
        using var pipe = new AnonymousPipeServerStream(PipeDirection.In);
        Opens($"/proc/self/fd/{pipe.SafePipeHandle.DangerousGetHandle()}", "it is a pipe or a device");
    }

    private static void Opens(string path, string expected)
    {
        var e = Assert.Throws<UserException>(() => SafetensorsFile.Open(path).Dispose());
        Assert.Contains(expected, e.Message);
    }

    private static string One(string dtype, string shape, string offsets) => $"{{{Entry("a", dtype, shape, offsets)}}}";

    private static string Entry(string name, string dtype, string shape, string offsets) =>
        $"\"{name}\":{{\"dtype\":{dtype},\"shape\":{shape},\"data_offsets\":{offsets}}}";

    private static byte[] WholeFile(TemporaryFolder folder)
    {
        new SafetensorsWriter()
            .AddMetadata("step", "12")
            .Add<byte>("mask", SafetensorsDtype.BOOL, [3], new byte[] { 1, 0, 1 })
            .Add<float>("weight", SafetensorsDtype.F32, [2, 2], new[] { 1f, 2f, 3f, 4f })
            .Add<long>("step", SafetensorsDtype.I64, [], new[] { 12L })
            .Save(folder["whole"]);
        return File.ReadAllBytes(folder["whole"]);
    }
}
