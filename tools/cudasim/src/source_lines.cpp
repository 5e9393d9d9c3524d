// Source lines of code addresses, by binutils' addr2line. Without it the places stay empty.
#include <cstdio>
#include <map>
#include <mutex>

#include "findings.h"
#include "module.h"

namespace cudasim {
namespace {

std::mutex lock;
std::map<std::pair<uint64_t, uintptr_t>, std::string> known;  // by image and offset

// "/tmp/cudasim-x/a/b/c/file.cu:12 (discriminator 3)" becomes "file.cu:12".
std::string tidy(std::string line) {
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    const auto note = line.find(" (discriminator");
    if (note != std::string::npos) line.erase(note);
    const auto temporary = line.find("/cudasim-");
    if (temporary != std::string::npos && line.find('/', temporary + 1) != std::string::npos)
        line.erase(0, line.find('/', temporary + 1) + 1);
    if (line.rfind("a/b/c/", 0) == 0) line.erase(0, 6);
    if (line.rfind("??", 0) == 0) line.clear();
    return line;
}

}  // namespace

void find_source_lines(const KernelImage* image, const std::vector<uintptr_t>& places) {
    if (!image) return;
    const std::lock_guard guard(lock);
    std::vector<uintptr_t> missing;
    for (const auto pc : places)
        if (image->contains(pc) && !known.count({image->serial, pc - image->begin}))
            missing.push_back(pc - image->begin);
    if (missing.empty()) return;
    // One process for all of them. A return address is one past the call.
    std::string command = "addr2line -e " + image->path;
    char text[512];
    for (const auto offset : missing) {
        std::snprintf(text, sizeof text, " 0x%zx", static_cast<size_t>(offset - 1));
        command += text;
    }
    FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
    for (const auto offset : missing)
        known[{image->serial, offset}] = pipe && std::fgets(text, sizeof text, pipe) ? tidy(text) : "";
    if (pipe) pclose(pipe);
}

std::string source_line(const KernelImage* image, uintptr_t pc) {
    if (!image || !image->contains(pc)) return "";
    find_source_lines(image, {pc});
    const std::lock_guard guard(lock);
    return known[{image->serial, pc - image->begin}];
}

}  // namespace cudasim
