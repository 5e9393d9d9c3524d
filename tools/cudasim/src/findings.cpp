#include "findings.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "execution.h"
#include "module.h"
#include "settings.h"

namespace cudasim {
namespace {

struct Record {
    std::string kind, kernel, text, place;
    Dim3 block, thread;
    uint64_t address = 0, count = 0, launch = 0;
    bool in_kernel = false;
};

constexpr size_t most_records = 500;
std::mutex lock;
std::vector<Record> records;
std::map<std::string, size_t> index;

void keep(Record record, const std::string& key) {
    const std::lock_guard guard(lock);
    const auto [found, fresh] = index.try_emplace(key, records.size());
    if (!fresh) {
        records[found->second].count++;
        return;
    }
    if (records.size() == most_records) {
        index.erase(found);
        return;
    }
    record.count = 1;
    if (settings().verbose)
        std::fprintf(stderr, "cudasim: %s in %s %s: %s\n", record.kind.c_str(), record.kernel.c_str(),
                     record.place.c_str(), record.text.c_str());
    records.push_back(std::move(record));
}

std::string triple(const Dim3& d) {
    return "[" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + "]";
}

}  // namespace

void report(const Finding& finding, const Thread& thread, uintptr_t pc) {
    const auto& launch = *thread.block->launch;
    Record record;
    record.kind = finding.kind;
    record.kernel = launch.kernel;
    record.text = finding.text;
    record.address = finding.address;
    record.block = thread.block->index;
    record.thread = thread.index;
    record.launch = launch.number;
    record.in_kernel = true;
    const auto key = record.kind + "/" + launch.kernel + "/" + std::to_string(launch.image ? launch.image->serial : 0) +
                     "/" + (pc ? std::to_string(pc) : std::to_string(thread.line));
    {
        const std::lock_guard guard(lock);
        const auto found = index.find(key);
        if (found != index.end()) {
            records[found->second].count++;
            return;
        }
    }
    if (pc) record.place = source_line(launch.image, pc);
    keep(std::move(record), key);
}

void report(const Finding& finding) {
    Record record;
    record.kind = finding.kind;
    record.text = finding.text;
    record.address = finding.address;
    const auto key = record.kind + "/" + record.text + "/" + std::to_string(record.address);
    keep(std::move(record), key);
}

uint64_t finding_count(const std::string& kind) {
    const std::lock_guard guard(lock);
    uint64_t n = 0;
    for (const auto& record : records)
        if (kind.empty() || record.kind == kind) n += record.count;
    return n;
}

std::string findings_json() {
    const std::lock_guard guard(lock);
    std::string text = "[";
    for (const auto& r : records) {
        char address[32];
        std::snprintf(address, sizeof address, "0x%llx", static_cast<unsigned long long>(r.address));
        if (text.size() > 1) text += ",\n ";
        text += "{\"kind\":" + json_text(r.kind) + ",\"kernel\":" + json_text(r.kernel) +
                ",\"source\":" + json_text(r.place) + ",\"message\":" + json_text(r.text) + ",\"address\":\"" +
                address + "\",\"count\":" + std::to_string(r.count);
        if (r.in_kernel)
            text += ",\"launch\":" + std::to_string(r.launch) + ",\"block\":" + triple(r.block) +
                    ",\"thread\":" + triple(r.thread);
        text += "}";
    }
    return text + "]";
}

void clear_findings() {
    const std::lock_guard guard(lock);
    records.clear();
    index.clear();
}

std::string json_text(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", c);
            out += escape;
        } else {
            out += c;
        }
    }
    return out + "\"";
}

}  // namespace cudasim
