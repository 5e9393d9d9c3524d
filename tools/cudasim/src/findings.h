// What the checks found: one record per kind, kernel and place, with the first example and a count.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace cudasim {

struct Thread;
struct KernelImage;

struct Finding {
    const char* kind;
    std::string text;
    uint64_t address = 0;
};

// Reports what a running thread did at code address pc (0: the text says where).
void report(const Finding& finding, const Thread& thread, uintptr_t pc);
// Reports what happened outside any kernel (leaks).
void report(const Finding& finding);

uint64_t finding_count(const std::string& kind);  // "" counts all
std::string findings_json();
void clear_findings();
void report_when_process_ends();

// "file:line" of a code address in a loaded kernel image, or "" when unknown.
std::string source_line(const KernelImage* image, uintptr_t pc);
// Looks up many at once, which is faster.
void find_source_lines(const KernelImage* image, const std::vector<uintptr_t>& places);
std::string json_text(const std::string& text);

}  // namespace cudasim
