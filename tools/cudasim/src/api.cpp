// The simulator's own interface (include/cudasim.h) and the listing of counters.
#include "../include/cudasim.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "device_abi.h"
#include "findings.h"
#include "memory.h"
#include "module.h"
#include "settings.h"
#include "shadow.h"
#include "traffic.h"

namespace cudasim {
namespace {

struct KeptLaunch {
    std::string kernel;
    uint64_t number;
    Dim3 grid, block, cluster;
    size_t dynamic_shared, static_shared;
    Counters counters;
    std::string sites;
};

std::vector<KeptLaunch> kept;
constexpr size_t most_kept = 20000;

std::string triple(const Dim3& d) {
    return "[" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + "]";
}

// The places of a launch with the most traffic, summed by source line.
std::string sites_json(const Launch& launch) {
    std::vector<uintptr_t> places;
    for (const auto& [pc, site] : launch.counters.sites) places.push_back(pc);
    find_source_lines(launch.image, places);
    std::map<std::string, SiteTraffic> lines;
    for (const auto& [pc, site] : launch.counters.sites) {
        const char* space = site.kind & access_shared ? "shared" : "global";
        const char* what = site.kind & access_atomic && !(site.kind & access_volatile) ? "atomic"
                           : site.kind & access_write                                  ? "write"
                                                                                       : "read";
        auto& line = lines[std::string("\"source\":") + json_text(source_line(launch.image, pc)) + ",\"space\":\"" +
                           space + "\",\"access\":\"" + what + "\""];
        line.requests += site.requests;
        line.bytes += site.bytes;
        line.sectors += site.sectors;
        line.ideal_sectors += site.ideal_sectors;
        line.wavefronts += site.wavefronts;
        line.ideal_wavefronts += site.ideal_wavefronts;
        line.max_ways = std::max(line.max_ways, site.max_ways);
        line.kind = site.kind;
    }
    std::string text = "[";
    for (const auto& [key, s] : lines) {
        if (text.size() > 1) text += ",";
        text += "{" + key + ",\"requests\":" + std::to_string(s.requests) + ",\"bytes\":" + std::to_string(s.bytes);
        if (s.kind & access_shared)
            text += ",\"wavefronts\":" + std::to_string(s.wavefronts) +
                    ",\"ideal_wavefronts\":" + std::to_string(s.ideal_wavefronts) +
                    ",\"max_ways\":" + std::to_string(s.max_ways);
        else
            text +=
                ",\"sectors\":" + std::to_string(s.sectors) + ",\"ideal_sectors\":" + std::to_string(s.ideal_sectors);
        text += "}";
    }
    return text + "]";
}

}  // namespace

void keep_counters(const Launch& launch) {
    if (kept.size() >= most_kept) return;
    KeptLaunch k{launch.kernel,         launch.number,        launch.grid,     launch.block,      launch.cluster,
                 launch.dynamic_shared, launch.static_shared, launch.counters, sites_json(launch)};
    k.counters.sites.clear();
    kept.push_back(std::move(k));
}

size_t counted_launches() { return kept.size(); }
void clear_counters() { kept.clear(); }

std::string counters_json() {
    std::string text = "[";
    for (const auto& k : kept) {
        const auto& c = k.counters;
        if (text.size() > 1) text += ",\n ";
        text += "{\"kernel\":" + json_text(k.kernel) + ",\"launch\":" + std::to_string(k.number) +
                ",\"grid\":" + triple(k.grid) + ",\"block\":" + triple(k.block) + ",\"cluster\":" + triple(k.cluster);
        const auto add = [&](const char* name, uint64_t value) {
            text += std::string(",\"") + name + "\":" + std::to_string(value);
        };
        add("dynamic_shared_bytes", k.dynamic_shared);
        add("static_shared_bytes", k.static_shared);
        add("global_read_bytes", c.global_read_bytes);
        add("global_write_bytes", c.global_write_bytes);
        add("unique_read_bytes", c.unique_read_bytes);
        add("unique_write_bytes", c.unique_write_bytes);
        add("global_read_requests", c.global_read_requests);
        add("global_write_requests", c.global_write_requests);
        add("global_read_sectors", c.global_read_sectors);
        add("global_write_sectors", c.global_write_sectors);
        add("global_read_ideal_sectors", c.global_read_ideal_sectors);
        add("global_write_ideal_sectors", c.global_write_ideal_sectors);
        add("shared_read_bytes", c.shared_read_bytes);
        add("shared_write_bytes", c.shared_write_bytes);
        add("remote_shared_bytes", c.remote_shared_bytes);
        add("shared_requests", c.shared_requests);
        add("shared_wavefronts", c.shared_wavefronts);
        add("shared_excess_wavefronts", c.shared_excess_wavefronts);
        add("shared_max_ways", c.shared_max_ways);
        add("global_atomics", c.global_atomics);
        add("shared_atomics", c.shared_atomics);
        add("barriers", c.barriers);
        add("divergent_barriers", c.divergent_barriers);
        add("cluster_barriers", c.cluster_barriers);
        add("warp_syncs", c.warp_syncs);
        add("blocks", c.blocks);
        add("threads", c.threads);
        text += ",\"sites\":" + k.sites + "}";
    }
    return text + "]";
}

}  // namespace cudasim

using namespace cudasim;

namespace {

void write_report() {
    const auto path = settings().report;
    if (path.empty()) return;
    if (settings().check_memory) report_leaks();
    if (FILE* file = std::fopen(path.c_str(), "w")) {
        std::fprintf(file, "{\"findings\":%s,\n\"launches\":%s}\n", findings_json().c_str(), counters_json().c_str());
        std::fclose(file);
    }
}

const char* keep_text(std::string text) {
    static thread_local std::string kept_text;
    kept_text = std::move(text);
    return kept_text.c_str();
}
}  // namespace

void cudasim::report_when_process_ends() {
    // Called by cuInit, when everything that is written has been constructed: exit undoes things in reverse.
    static const int registered = std::atexit(write_report);
    (void)registered;
}

CUDASIM_API const char* cudasim_build_id() { return keep_text("cudasim 1 " + host_compiler_version()); }
CUDASIM_API int cudasim_set_option(const char* name, const char* value) {
    return name && value && set_option(name, value) ? 0 : 1;
}
CUDASIM_API const char* cudasim_options() { return keep_text(list_options()); }
CUDASIM_API uint64_t cudasim_finding_count(const char* kind) { return finding_count(kind ? kind : ""); }
CUDASIM_API const char* cudasim_findings_json() { return keep_text(findings_json()); }
CUDASIM_API void cudasim_findings_clear() { clear_findings(); }
CUDASIM_API uint64_t cudasim_check_leaks() { return report_leaks(); }
CUDASIM_API const char* cudasim_counters_json() { return keep_text(counters_json()); }
CUDASIM_API uint64_t cudasim_counters_launches() { return counted_launches(); }
CUDASIM_API void cudasim_counters_clear() { clear_counters(); }
CUDASIM_API void cudasim_memory_name(uint64_t pointer, size_t bytes, const char* name) {
    name_range(pointer, bytes, name ? name : "");
}
CUDASIM_API void cudasim_memory_poison(uint64_t pointer, size_t bytes) { poison_range(pointer, bytes, false, false); }
CUDASIM_API void cudasim_memory_unpoison(uint64_t pointer, size_t bytes) { poison_range(pointer, bytes, true, false); }
