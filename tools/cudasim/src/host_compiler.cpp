// Runs the host's C++ compiler: once to preprocess a kernel source, once to compile and once to link it.
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "module.h"

extern char** environ;

// The prelude is part of the library, so that a copied libcudasim.so is whole.
asm(R"(
.section .rodata
.globl cudasim_prelude_text
.globl cudasim_prelude_end
.globl cudasim_math_text
.globl cudasim_math_end
cudasim_prelude_text: .incbin ")" CUDASIM_DEVICE_DIR R"(/prelude.h"
cudasim_prelude_end:
cudasim_math_text: .incbin ")" CUDASIM_DEVICE_DIR R"(/math.h"
cudasim_math_end:
.text
)");
extern "C" const char cudasim_prelude_text[], cudasim_prelude_end[], cudasim_math_text[], cudasim_math_end[];

namespace cudasim {
namespace {

namespace fs = std::filesystem;

class Directory {
public:
    Directory() {
        const char* base = std::getenv("TMPDIR");
        std::string pattern = std::string(base && *base ? base : "/tmp") + "/cudasim-XXXXXX";
        if (mkdtemp(pattern.data())) path_ = pattern;
    }
    ~Directory() {
        std::error_code ignored;
        if (!path_.empty()) fs::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

bool write_file(const std::string& path, const char* text, size_t size) {
    std::error_code ignored;
    fs::create_directories(fs::path(path).parent_path(), ignored);
    std::ofstream out(path, std::ios::binary);
    out.write(text, static_cast<std::streamsize>(size));
    return static_cast<bool>(out);
}

// Runs a program in a directory with its output in a file; the exit status, or 127 when it cannot be started.
int run(const std::string& directory, const std::vector<std::string>& command, const std::string& output) {
    std::vector<std::string> words = {"/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", directory};
    words.insert(words.end(), command.begin(), command.end());
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawnattr_t attributes;  // a signal mask of the caller (a .NET thread) must not reach the compiler
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t pid = 0;
    const int failed = posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed) return 127;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

// "a.cu:12:5: error: text" becomes "a.cu(12): error: text", the form NVRTC uses; other lines stay.
std::string nvrtc_style(const std::string& log) {
    std::string out;
    size_t at = 0;
    while (at < log.size()) {
        auto end = log.find('\n', at);
        if (end == std::string::npos) end = log.size();
        const auto line = log.substr(at, end - at);
        at = end + 1;
        const auto first = line.find(':');
        size_t i = first == std::string::npos ? line.size() : first + 1;
        const auto digits = i;
        while (i < line.size() && line[i] >= '0' && line[i] <= '9') ++i;
        if (i > digits && i < line.size() && line[i] == ':') {
            auto rest = i + 1;
            while (rest < line.size() && line[rest] >= '0' && line[rest] <= '9') ++rest;
            if (rest > i + 1 && rest < line.size() && line[rest] == ':') i = rest;
            out += line.substr(0, first) + "(" + line.substr(digits, line.find(':', digits) - digits) + ")" +
                   line.substr(i) + "\n";
        } else {
            out += line + "\n";
        }
    }
    return out;
}

// What both steps need; the language is C++, or C++ that was preprocessed.
std::vector<std::string> compiler_command(const char* language) {
    return {host_compiler(),
            "-x",
            language,
            "-nostdinc",
            "-w",
            "-fno-exceptions",
            "-fno-rtti",
            "-fdiagnostics-color=never"};
}

std::string prelude_stamp() {
    uint64_t hash = 1469598103934665603ull;
    const auto mix = [&](const char* begin, const char* end) {
        for (; begin != end; ++begin) hash = (hash ^ static_cast<unsigned char>(*begin)) * 1099511628211ull;
    };
    mix(cudasim_prelude_text, cudasim_prelude_end);
    mix(cudasim_math_text, cudasim_math_end);
    return std::to_string(hash);
}

bool has_fma() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

}  // namespace

const char* host_compiler() {
    static const std::string chosen = [] {
        const char* wanted = std::getenv("CUDASIM_CXX");
        if (wanted && *wanted) return std::string(wanted);
        for (const char* candidate : {"g++", "clang++", "c++"}) {
            const std::string path = std::getenv("PATH") ? std::getenv("PATH") : "/usr/bin:/bin";
            size_t at = 0;
            while (at <= path.size()) {
                auto end = path.find(':', at);
                if (end == std::string::npos) end = path.size();
                const auto file = path.substr(at, end - at) + "/" + candidate;
                if (access(file.c_str(), X_OK) == 0) return std::string(candidate);
                at = end + 1;
            }
        }
        return std::string("g++");
    }();
    return chosen.c_str();
}

std::string host_compiler_version() {
    static const std::string version = [] {
        Directory directory;
        const auto file = directory.path() + "/version";
        if (run(directory.path(), {host_compiler(), "--version"}, file) != 0) return std::string("no host compiler");
        const auto text = read_file(file);
        return text.substr(0, text.find('\n')) + (has_fma() ? " fma" : "") + " prelude " + prelude_stamp();
    }();
    return version;
}

CompileResult preprocess(const PreprocessInput& input) {
    Directory directory;
    // Deep enough that an include path with ".." stays inside.
    const auto root = directory.path() + "/a/b/c";
    const auto name = input.name.empty() ? std::string("default_program") : input.name;
    const auto file = fs::path(name).is_absolute() ? fs::path(name).filename().string() : name;
    CompileResult result;
    bool written = write_file(root + "/" + file, input.source.data(), input.source.size());
    for (const auto& [header, text] : input.headers)
        written = written && write_file(root + "/" + header, text.data(), text.size());
    const auto prelude = directory.path() + "/prelude";
    written = written && write_file(prelude + "/cudasim_prelude.h", cudasim_prelude_text,
                                    static_cast<size_t>(cudasim_prelude_end - cudasim_prelude_text));
    written = written && write_file(prelude + "/cudasim_math.h", cudasim_math_text,
                                    static_cast<size_t>(cudasim_math_end - cudasim_math_text));
    if (!written) {
        result.log = "cudasim cannot write to the directory for temporary files " + directory.path() + "\n";
        return result;
    }
    auto command = compiler_command("c++");
    command.push_back("-E");
    command.insert(command.end(), {"-isystem", prelude, "-include", prelude + "/cudasim_prelude.h", "-I."});
    command.insert(command.end(), input.options.begin(), input.options.end());
    command.insert(command.end(), {"-o", directory.path() + "/out.ii", file});
    const auto log = directory.path() + "/log";
    const int status = run(root, command, log);
    result.ok = status == 0;
    result.log = nvrtc_style(read_file(log));
    if (status == 127)
        result.log += std::string("cudasim needs a host C++ compiler; '") + host_compiler() + "' did not start\n";
    result.object = read_file(directory.path() + "/out.ii");
    size_t at;  // temporary paths would make equal sources differ
    while ((at = result.object.find(directory.path() + "/")) != std::string::npos)
        result.object.erase(at, directory.path().size() + 1);
    return result;
}

CompileResult compile_object(const std::string& source, const std::string& options, bool instrumented) {
    Directory directory;
    const auto& path = directory.path();
    CompileResult result;
    if (!write_file(path + "/in.ii", source.data(), source.size())) {
        result.log = "cudasim cannot write to the directory for temporary files " + path + "\n";
        return result;
    }
    auto command = compiler_command("c++-cpp-output");
    command.push_back("-c");
    command.insert(command.end(),
                   {"-fPIC", "-g1", "-fno-strict-aliasing", "-ffp-contract=off", "-fno-threadsafe-statics",
                    "-fno-tree-vectorize", "-fno-math-errno", "-fno-stack-protector", "-U_FORTIFY_SOURCE"});
    if (has_fma()) command.push_back("-mfma");
    const bool gcc = std::string(host_compiler()).find("clang") == std::string::npos;
    if (gcc) command.push_back("-fno-gnu-unique");  // a unique symbol would keep an unloaded module alive
    if (instrumented) {
        // One call per access with its true size: no splitting of vectors, no widening of scalars.
        command.insert(command.end(), {"-O1", "-fsanitize=thread"});
        if (gcc)
            command.insert(command.end(), {"-fno-tree-sra", "--param", "tsan-distinguish-volatile=1", "--param",
                                           "tsan-instrument-func-entry-exit=0"});
        else
            command.insert(command.end(), {"-mllvm", "-tsan-distinguish-volatile=1"});
    } else {
        command.push_back("-O2");
    }
    size_t at = 0;
    while (at < options.size()) {
        auto end = options.find('\n', at);
        if (end == std::string::npos) end = options.size();
        if (end > at) command.push_back(options.substr(at, end - at));
        at = end + 1;
    }
    command.insert(command.end(), {"-o", "out.o", "in.ii"});
    int status = run(path, command, path + "/log");
    result.log = nvrtc_style(read_file(path + "/log"));
    if (status == 0) {
        status = run(path, {host_compiler(), "-shared", "-nostdlib", "-o", "out.so", "out.o"}, path + "/log");
        result.log += read_file(path + "/log");
    }
    if (status == 127)
        result.log += std::string("cudasim needs a host C++ compiler; '") + host_compiler() + "' did not start\n";
    result.ok = status == 0;
    if (result.ok) result.object = read_file(path + "/out.so");
    return result;
}

}  // namespace cudasim
