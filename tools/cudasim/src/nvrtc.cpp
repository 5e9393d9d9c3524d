// NVRTC: programs are preprocessed, rewritten and compiled by the host's C++ compiler.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "device_abi.h"
#include "module.h"
#include "settings.h"

namespace {

using namespace cudasim;

enum nvrtcResult {
    NVRTC_SUCCESS = 0,
    NVRTC_ERROR_OUT_OF_MEMORY = 1,
    NVRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
    NVRTC_ERROR_INVALID_INPUT = 3,
    NVRTC_ERROR_INVALID_PROGRAM = 4,
    NVRTC_ERROR_INVALID_OPTION = 5,
    NVRTC_ERROR_COMPILATION = 6,
    NVRTC_ERROR_BUILTIN_OPERATION_FAILURE = 7,
    NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION = 8,
    NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION = 9,
    NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID = 10,
    NVRTC_ERROR_INTERNAL_ERROR = 11,
    NVRTC_ERROR_TIME_FILE_WRITE_FAILED = 12
};

constexpr int supported_archs[] = {75, 80, 86, 87, 89, 90, 100, 103, 120};

struct Program {
    PreprocessInput input;
    std::vector<std::string> expressions, lowered;
    std::string log, cubin;
    bool compiled = false;
};

Program* program(void* handle) { return static_cast<Program*>(handle); }

// The compiler runs in a folder of its own.
std::string absolute(const std::string& path) { return std::filesystem::absolute(path).string(); }

bool starts(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream in(text);
    return {std::istream_iterator<std::string>(in), {}};
}

// Options that change nothing here: those that take a value, and those that do not.
const std::vector<std::string> options_with_value = words_of(
    "--fmad -fmad --ftz -ftz --prec-sqrt -prec-sqrt --prec-div -prec-div --maxrregcount -maxrregcount --ptxas-options "
    "-Xptxas --split-compile -split-compile --diag-suppress -diag-suppress --diag-error -diag-error --diag-warn "
    "-diag-warn --device-float128 --builtin-move-forward --builtin-initializer-list --dopt -dopt --pch-dir "
    "--relocatable-device-code -rdc --modify-stack-limit --brief-diagnostics");
const std::vector<std::string> plain_options = words_of(
    "--device-debug -G --generate-line-info -lineinfo --extra-device-vectorization -extra-device-vectorization "
    "--restrict -restrict --disable-warnings -w --device-as-default-execution-space -default-device --device-int128 "
    "-device-int128 --no-source-include -no-source-include --dlink-time-opt --display-error-number -err-no "
    "--no-display-error-number -no-err-no --minimal -minimal");

// One NVRTC option, possibly with its value in the next word. False: not an option NVRTC knows.
bool take_option(const std::vector<std::string>& options, size_t& i, Program& p, std::string& standard, int& arch) {
    auto& flags = p.input.options;
    const auto& o = options[i];
    const auto value_of = [&](const std::vector<std::string>& names, std::string& value) {
        for (const auto& name : names) {
            if (o == name && i + 1 < options.size()) {
                value = options[++i];
                return true;
            }
            if (starts(o, (name + "=").c_str())) {
                value = o.substr(name.size() + 1);
                return true;
            }
        }
        return false;
    };
    std::string value;
    if (value_of({"--gpu-architecture", "-arch"}, value)) {
        const auto digits = value.find_first_of("0123456789");
        if (digits == std::string::npos || !(starts(value, "sm_") || starts(value, "compute_"))) return false;
        arch = std::atoi(value.c_str() + digits);
        for (const int known : supported_archs)
            if (known == arch) return true;
        return false;
    }
    if (value_of({"--define-macro"}, value)) return flags.push_back("-D" + value), true;
    if (value_of({"--undefine-macro"}, value)) return flags.push_back("-U" + value), true;
    if (value_of({"--include-path"}, value)) return flags.push_back("-I" + absolute(value)), true;
    if (o == "-D" || o == "-I" || o == "-U") {
        if (i + 1 >= options.size()) return false;
        value = options[++i];
        flags.push_back(o + (o == "-I" ? absolute(value) : value));
        return true;
    }
    if (starts(o, "-I")) return flags.push_back("-I" + absolute(o.substr(2))), true;
    if (starts(o, "-D") || starts(o, "-U")) return flags.push_back(o), true;
    if (value_of({"--std", "-std"}, value)) {
        if (value != "c++11" && value != "c++14" && value != "c++17" && value != "c++20") return false;
        standard = value;
        return true;
    }
    if (o == "--use_fast_math" || o == "-use_fast_math") return flags.push_back("-D__USE_FAST_MATH__=1"), true;
    if (value_of(options_with_value, value)) return true;
    return std::find(plain_options.begin(), plain_options.end(), o) != plain_options.end();
}

}  // namespace

CUDASIM_API const char* nvrtcGetErrorString(nvrtcResult result) {
    switch (result) {
        case NVRTC_SUCCESS: return "NVRTC_SUCCESS";
        case NVRTC_ERROR_OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
        case NVRTC_ERROR_PROGRAM_CREATION_FAILURE: return "NVRTC_ERROR_PROGRAM_CREATION_FAILURE";
        case NVRTC_ERROR_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
        case NVRTC_ERROR_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
        case NVRTC_ERROR_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
        case NVRTC_ERROR_COMPILATION: return "NVRTC_ERROR_COMPILATION";
        case NVRTC_ERROR_BUILTIN_OPERATION_FAILURE: return "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE";
        case NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION:
            return "NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION";
        case NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION: return "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION";
        case NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID: return "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID";
        case NVRTC_ERROR_INTERNAL_ERROR: return "NVRTC_ERROR_INTERNAL_ERROR";
        case NVRTC_ERROR_TIME_FILE_WRITE_FAILED: return "NVRTC_ERROR_TIME_FILE_WRITE_FAILED";
        default: return "NVRTC_ERROR unknown";
    }
}

CUDASIM_API nvrtcResult nvrtcVersion(int* major, int* minor) {
    if (!major || !minor) return NVRTC_ERROR_INVALID_INPUT;
    *major = 12;
    *minor = 8;
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
    if (!count) return NVRTC_ERROR_INVALID_INPUT;
    *count = static_cast<int>(std::size(supported_archs));
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcGetSupportedArchs(int* archs) {
    if (!archs) return NVRTC_ERROR_INVALID_INPUT;
    std::copy(std::begin(supported_archs), std::end(supported_archs), archs);
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcCreateProgram(void** prog, const char* source, const char* name, int header_count,
                                           const char* const* headers, const char* const* include_names) {
    if (!prog || !source || header_count < 0 || (header_count > 0 && (!headers || !include_names)))
        return NVRTC_ERROR_INVALID_INPUT;
    auto p = std::make_unique<Program>();
    p->input.name = name ? name : "default_program";
    p->input.source = source;
    for (int i = 0; i < header_count; ++i) p->input.headers.emplace_back(include_names[i], headers[i]);
    *prog = p.release();
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcDestroyProgram(void** prog) {
    if (!prog || !*prog) return NVRTC_ERROR_INVALID_PROGRAM;
    delete program(*prog);
    *prog = nullptr;
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcAddNameExpression(void* prog, const char* expression) {
    if (!prog) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!expression) return NVRTC_ERROR_INVALID_INPUT;
    if (program(prog)->compiled) return NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION;
    program(prog)->expressions.emplace_back(expression);
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcCompileProgram(void* prog, int option_count, const char* const* options) {
    if (!prog) return NVRTC_ERROR_INVALID_PROGRAM;
    if (option_count < 0 || (option_count > 0 && !options)) return NVRTC_ERROR_INVALID_INPUT;
    auto& p = *program(prog);
    p.log.clear();
    if (settings().nvrtc_internal_error) {
        p.log = "internal error injected by the simulator\n";
        return NVRTC_ERROR_INTERNAL_ERROR;
    }
    const std::vector<std::string> words(options, options + option_count);
    std::string standard = "c++17";
    int arch = 75;
    p.input.options.clear();
    for (size_t i = 0; i < words.size(); ++i) {
        if (!take_option(words, i, p, standard, arch)) {
            p.log = "nvrtc: error: invalid value or unrecognized option: " + words[i] + "\n";
            return NVRTC_ERROR_INVALID_OPTION;
        }
    }
    // The prelude wants C++17, which is also what NVRTC takes when nothing is said.
    const auto language = "-std=" + (standard == "c++20" ? standard : "c++17");
    p.input.options.push_back(language);
    p.input.options.push_back("-D__CUDA_ARCH__=" + std::to_string(arch * 10));
    p.input.options.push_back("-DCUDASIM=1");
    auto preprocessed = preprocess(p.input);
    p.log = preprocessed.log;
    if (!preprocessed.ok) return NVRTC_ERROR_COMPILATION;
    const auto rewritten = rewrite_kernels(preprocessed.object, p.expressions);
    const auto& compile_options = language;
    const bool checked = settings().checked();
    const auto compiled = compile_object(rewritten.text, compile_options, checked);
    p.log += compiled.log;
    if (!compiled.ok)
        return p.log.find("cudasim_kernel_table") != std::string::npos && !p.expressions.empty()
                   ? NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID
                   : NVRTC_ERROR_COMPILATION;
    p.cubin = make_cubin(checked, compiled.object, rewritten.text, compile_options);
    p.lowered.clear();
    for (const auto& expression : p.expressions) p.lowered.push_back(lowered_name(expression));
    p.compiled = true;
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcGetLoweredName(void* prog, const char* expression, const char** name) {
    if (!prog) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!expression || !name) return NVRTC_ERROR_INVALID_INPUT;
    const auto& p = *program(prog);
    if (!p.compiled) return NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION;
    for (size_t i = 0; i < p.expressions.size(); ++i) {
        if (p.expressions[i] != expression) continue;
        *name = p.lowered[i].c_str();
        return NVRTC_SUCCESS;
    }
    return NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID;
}

CUDASIM_API nvrtcResult nvrtcGetProgramLogSize(void* prog, size_t* size) {
    if (!prog) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!size) return NVRTC_ERROR_INVALID_INPUT;
    *size = program(prog)->log.size() + 1;
    return NVRTC_SUCCESS;
}

CUDASIM_API nvrtcResult nvrtcGetProgramLog(void* prog, char* log) {
    if (!prog) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!log) return NVRTC_ERROR_INVALID_INPUT;
    std::memcpy(log, program(prog)->log.c_str(), program(prog)->log.size() + 1);
    return NVRTC_SUCCESS;
}

namespace {

nvrtcResult binary_size(void* prog, size_t* size) {
    if (!prog || !program(prog)->compiled) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!size) return NVRTC_ERROR_INVALID_INPUT;
    *size = program(prog)->cubin.size();
    return NVRTC_SUCCESS;
}

nvrtcResult binary(void* prog, char* out) {
    if (!prog || !program(prog)->compiled) return NVRTC_ERROR_INVALID_PROGRAM;
    if (!out) return NVRTC_ERROR_INVALID_INPUT;
    std::memcpy(out, program(prog)->cubin.data(), program(prog)->cubin.size());
    return NVRTC_SUCCESS;
}

}  // namespace

// The simulator has one binary format; whoever asks for PTX gets the same bytes, which cuModuleLoadData takes.
CUDASIM_API nvrtcResult nvrtcGetPTXSize(void* prog, size_t* size) { return binary_size(prog, size); }
CUDASIM_API nvrtcResult nvrtcGetPTX(void* prog, char* out) { return binary(prog, out); }
CUDASIM_API nvrtcResult nvrtcGetCUBINSize(void* prog, size_t* size) { return binary_size(prog, size); }
CUDASIM_API nvrtcResult nvrtcGetCUBIN(void* prog, char* out) { return binary(prog, out); }
