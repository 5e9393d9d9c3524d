// Parsing of options. One table serves the environment, the API and the listing.
#include "settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

namespace cudasim {
namespace {

struct Option {
    const char* name;
    std::function<bool(Settings&, const std::string&)> set;
    std::function<std::string(const Settings&)> get;
};

bool parse_integer(const std::string& text, int64_t& value) {
    char* end = nullptr;
    value = std::strtoll(text.c_str(), &end, 0);
    return end != text.c_str() && *end == '\0';
}

template <class T>
Option number(const char* name, T Settings::*field) {
    return {name,
            [field](Settings& s, const std::string& text) {
                int64_t value;
                if (!parse_integer(text, value)) return false;
                s.*field = static_cast<T>(value);
                return true;
            },
            [field](const Settings& s) { return std::to_string(static_cast<int64_t>(s.*field)); }};
}

bool set_checks(Settings& s, const std::string& text) {
    s.check_memory = s.check_race = s.traffic = false;
    size_t start = 0;
    while (start <= text.size()) {
        auto end = text.find(',', start);
        if (end == std::string::npos) end = text.size();
        const auto word = text.substr(start, end - start);
        if (word == "memory")
            s.check_memory = true;
        else if (word == "race")
            s.check_race = true;
        else if (word == "traffic")
            s.traffic = true;
        else if (word == "all")
            s.check_memory = s.check_race = s.traffic = true;
        else if (!word.empty() && word != "none" && word != "0")
            return false;
        start = end + 1;
    }
    return true;
}

std::string get_checks(const Settings& s) {
    std::string text;
    if (s.check_memory) text += "memory,";
    if (s.check_race) text += "race,";
    if (s.traffic) text += "traffic,";
    if (text.empty()) return "none";
    text.pop_back();
    return text;
}

bool set_compute(Settings& s, const std::string& text) {
    int64_t value;
    if (!parse_integer(text, value) || value < 10) return false;
    s.compute_major = static_cast<int>(value / 10);
    s.compute_minor = static_cast<int>(value % 10);
    return true;
}

const std::vector<Option>& options() {
    static const std::vector<Option> table = {
        {"check", set_checks, get_checks},
        {"compute", set_compute,
         [](const Settings& s) { return std::to_string(s.compute_major * 10 + s.compute_minor); }},
        number("seed", &Settings::seed),
        number("deferred", &Settings::deferred),
        number("verbose", &Settings::verbose),
        {"report",
         [](Settings& s, const std::string& text) {
             s.report = text;
             return true;
         },
         [](const Settings& s) { return s.report; }},
        number("threads", &Settings::threads),
        number("devices", &Settings::devices),
        number("driver_version", &Settings::driver_version),
        number("multiprocessors", &Settings::multiprocessors),
        number("threads_per_multiprocessor", &Settings::threads_per_multiprocessor),
        number("blocks_per_multiprocessor", &Settings::blocks_per_multiprocessor),
        number("shared_per_block", &Settings::shared_per_block),
        number("shared_per_block_optin", &Settings::shared_per_block_optin),
        number("shared_per_multiprocessor", &Settings::shared_per_multiprocessor),
        number("max_cluster", &Settings::max_cluster),
        number("memory", &Settings::memory),
        number("peer_access", &Settings::peer_access),
        number("fail_alloc_at", &Settings::fail_alloc_at),
        number("fail_alloc_above", &Settings::fail_alloc_above),
        number("no_driver", &Settings::no_driver),
        number("fail_launch_at", &Settings::fail_launch_at),
        number("illegal_address_at", &Settings::illegal_address_at),
        number("ecc_at", &Settings::ecc_at),
        number("lost_peer", &Settings::lost_peer),
        number("nvrtc_internal_error", &Settings::nvrtc_internal_error),
        number("cudnn_refuse", &Settings::cudnn_refuse),
    };
    return table;
}

Settings from_environment() {
    Settings s;
    for (const auto& option : options()) {
        std::string variable = "CUDASIM_";
        for (const char* c = option.name; *c; ++c) variable += *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 32) : *c;
        const char* value = std::getenv(variable.c_str());
        if (value && *value && !option.set(s, value))
            std::fprintf(stderr, "cudasim: %s=%s is not understood and was ignored\n", variable.c_str(), value);
    }
    return s;
}

}  // namespace

Settings current_settings = from_environment();

bool set_option(const std::string& name, const std::string& value) {
    for (const auto& option : options()) {
        if (name != option.name) continue;
        const bool watched = settings().watches_bytes();
        if (!option.set(settings(), value)) return false;
        if (!watched && settings().watches_bytes()) on_watch_begins();
        return true;
    }
    return false;
}

std::string list_options() {
    std::string text;
    for (const auto& option : options()) text += std::string(option.name) + "=" + option.get(settings()) + "\n";
    return text;
}

}  // namespace cudasim
