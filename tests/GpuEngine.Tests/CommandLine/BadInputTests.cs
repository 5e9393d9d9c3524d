using GpuEngine.Nn.Files;
using GpuEngine.Tests.Training;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>Bad usage and bad input: exit code 2, one plain sentence that names what was wrong, nothing lost.</summary>
public class BadInputTests
{
    [Theory]
    [InlineData("--model", "mpl", "mlp")]
    [InlineData("--activation", "rleu", "relu")]
    [InlineData("--norm", "batsh", "batch")]
    [InlineData("--data", "mnits", "mnist")]
    [InlineData("--optimizer", "adma", "adam")]
    [InlineData("--init", "he_norm", "he_normal")]
    [InlineData("--device", "gpu", "cpu")]
    [InlineData("--precision", "fp23", "fp32")]
    public void An_unknown_name_comes_with_the_nearest_valid_one(string option, string given, string nearest)
    {
        using var folder = new TemporaryFolder();
        Gpuengine.Run(folder.Folder, ["train", option, given, "--limit", "256", "--epochs", "1"]).IsUserError($"'{given}'", $"'{nearest}'");
    }

    [Theory]
    [InlineData("--dept", "3", "--depth")]
    [InlineData("--batchsize", "3", "--batch-size")]
    public void An_unknown_option_comes_with_the_nearest_valid_one(string option, string value, string nearest) =>
        Gpuengine.Run("train", option, value).IsUserError($"'{option}'", $"'{nearest}'");

    [Theory]
    [InlineData("--batch-size", "0")]
    [InlineData("--batch-size", "-4")]
    [InlineData("--width", "0")]
    [InlineData("--epochs", "0")]
    [InlineData("--lr", "-1")]
    [InlineData("--dropout", "1")]
    [InlineData("--limit", "0")]
    [InlineData("--threads", "0")]
    [InlineData("--clip-norm", "0")]
    public void A_value_out_of_range_names_the_option_and_the_value(string option, string value)
    {
        using var folder = new TemporaryFolder();
        var result = Gpuengine.Run(folder.Folder, ["train", option, value]);
        result.IsUserError(value);
        Assert.Contains(option.TrimStart('-').Split('-')[0], result.Error.Replace("learning rate", "lr", StringComparison.Ordinal));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Folder));
    }

    [Theory]
    [InlineData("--epochs", "three")]
    [InlineData("--lr", "fast")]
    [InlineData("--betas", "0.9;0.99")]
    public void A_value_of_the_wrong_kind_says_what_is_expected(string option, string value) =>
        Gpuengine.Run("train", option, value).IsUserError(option, $"'{value}'");

    [Fact]
    public void An_unknown_command_comes_with_the_nearest_one() => Gpuengine.Run("trian").IsUserError("'train'");

    [Fact]
    public void A_missing_data_file_names_the_files_and_what_to_do()
    {
        using var folder = new TemporaryFolder();
        Gpuengine.Run(folder.Folder, ["train", "--data", "mnist", "--data-dir", folder.Folder]).IsUserError("train-images-idx3-ubyte", "download-data");
    }

    [Fact]
    public void A_config_with_an_unknown_name_says_which()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["c.json"], "{\"epoch\": 3}");
        Gpuengine.Run(folder.Folder, ["train", "--config", "c.json"]).IsUserError("'epoch'", "'epochs'", "c.json");
    }

    [Fact]
    public void A_second_run_does_not_overwrite_the_first()
    {
        using var folder = new TemporaryFolder();
        TinyJob.Run(TinyJob.Config with { Epochs = 1 }, folder["run"]);
        var before = TinyJob.LastCheckpoint(folder["run"]);
        Gpuengine.Run(folder.Folder, ["train", "--out", "run"]).IsUserError("--resume");
        Assert.Equal(before, TinyJob.LastCheckpoint(folder["run"]));
    }

    [Fact]
    public void Resuming_what_is_no_run_says_so()
    {
        using var folder = new TemporaryFolder();
        Gpuengine.Run(folder.Folder, ["train", "--out", "nothing", "--resume"]).IsUserError("nothing", "config.json");
    }

    [Fact]
    public void A_run_folder_that_cannot_be_made_is_named()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["file"], "");
        Gpuengine.Run(folder.Folder, ["train", "--limit", "256", "--epochs", "1", "--out", folder["file/run"]]).IsUserError("file");
    }

    [Fact]
    public void A_shape_mismatch_names_the_layer_and_both_shapes()
    {
        using var folder = new TemporaryFolder();
        // 8x8 images are too small for the second 5x5 convolution of LeNet-5.
        Gpuengine.Run(folder.Folder, ["train", "--model", "lenet5", "--data", "synthetic:1x8x8:4", "--limit", "256"]).IsUserError("conv2", "5, 5]", "[128, 6, 2, 2]");
    }

    [Fact]
    public void Op_with_a_missing_tensor_names_it()
    {
        using var folder = new TemporaryFolder();
        new SafetensorsWriter().Add<float>("input", SafetensorsDtype.F32, [2, 3], new float[6]).Save(folder["in.safetensors"]);
        Gpuengine.Run(folder.Folder, ["op", "linear", "--in", "in.safetensors", "--out", "out.safetensors"]).IsUserError("'weight'", "linear");
        Assert.False(File.Exists(folder["out.safetensors"]));
    }

    [Fact]
    public void Op_with_an_unknown_tensor_attribute_or_name_says_which()
    {
        using var folder = new TemporaryFolder();
        new SafetensorsWriter().Add<float>("input", SafetensorsDtype.F32, [2, 3], new float[6]).Save(folder["in.safetensors"]);
        string[] files = ["--in", "in.safetensors", "--out", "out.safetensors"];
        Gpuengine.Run(folder.Folder, ["op", "rleu", .. files]).IsUserError("'relu'");
        Gpuengine.Run(folder.Folder, ["op", "softmax", .. files, "--attr", "dimm=1"]).IsUserError("'dimm'", "'dim'");
        Gpuengine.Run(folder.Folder, ["op", "softmax", .. files, "--attr", "dim=7"]).IsUserError("7", "[2, 3]");
        Gpuengine.Run(folder.Folder, ["op", "relu", .. files, "--grad"]).IsUserError("grad_output");
        Gpuengine.Run(folder.Folder, ["op", "relu", "--in", "none.safetensors", "--out", "out.safetensors"]).IsUserError("none.safetensors");
    }
}
