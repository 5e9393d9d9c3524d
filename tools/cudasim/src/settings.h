// Settings of the simulated machine: read once from CUDASIM_* variables, changed at run time by cudasim_set_option.
#pragma once
#include <cstdint>
#include <string>

namespace cudasim {

struct Settings {
    // The machine.
    int devices = 1;
    int driver_version = 12080;
    int compute_major = 9, compute_minor = 0;
    int multiprocessors = 8;
    int threads_per_multiprocessor = 2048;
    int blocks_per_multiprocessor = 32;
    int shared_per_block = 48 * 1024;
    int shared_per_block_optin = 227 * 1024;
    int shared_per_multiprocessor = 228 * 1024;
    int max_cluster = 8;
    int64_t memory = int64_t{4} << 30;
    bool peer_access = true;
    int threads = 0;  // operating system threads for unchecked launches; 0: one per core
    // The checks.
    bool check_memory = false, check_race = false, traffic = false;
    uint64_t seed = 0;      // 0: threads run in order; otherwise the seed of the random order
    bool deferred = false;  // streams run when something waits for them instead of at once
    bool verbose = false;   // findings are also written to stderr
    std::string report;     // a file for findings, leaks and counters when the process ends
    // The faults; a negative number or zero means none.
    int64_t fail_alloc_at = 0, fail_alloc_above = -1;
    int no_driver = 0;  // 1: cuInit answers 100; any other number: that error
    int64_t fail_launch_at = 0, illegal_address_at = 0, ecc_at = 0;
    bool lost_peer = false;
    bool nvrtc_internal_error = false;
    // How cuDNN refuses convolutions: 1 knows no algorithm, 2 wants more workspace than there is, 3 knows none that is
    // deterministic, 4 lists algorithms and refuses to run them.
    int cudnn_refuse = 0;

    // Is every byte's state kept up to date?
    bool watches_bytes() const { return check_memory || traffic; }
    // Is the instrumented build of kernels used?
    bool checked() const { return check_memory || check_race || traffic || seed != 0; }
};

extern Settings current_settings;
inline Settings& settings() { return current_settings; }  // read at every access of a kernel

// Sets one option by its name (the CUDASIM_ variable's name in lower case, without the prefix); false when unknown.
bool set_option(const std::string& name, const std::string& value);
std::string list_options();

// Bytes are watched from now on: what was written before must not be called uninitialised (memory.cpp).
void on_watch_begins();

}  // namespace cudasim
