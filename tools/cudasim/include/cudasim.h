// The simulator's own interface, beside the CUDA names it exports. Texts stay valid until the next call that returns a
// text.
#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

// Identifies the simulator and its prelude: compiled kernels of another build do not load here.
const char* cudasim_build_id(void);

// Sets an option: the name of a CUDASIM_ variable in lower case, without the prefix. 0, or 1 when name or value is not
// understood.
int cudasim_set_option(const char* name, const char* value);
const char* cudasim_options(void);  // every option and its value, one line each

// What the checks found. Kinds: out_of_bounds, use_after_free, uninitialised_read, misaligned, illegal_address,
// shared_race, global_race, divergent_barrier, divergent_warp, inactive_lane, deadlock, not_cooperative,
// shared_too_large, cluster_rank, trap, assert, leak.
uint64_t cudasim_finding_count(const char* kind);  // NULL or "": all
const char* cudasim_findings_json(void);
void cudasim_findings_clear(void);
uint64_t cudasim_check_leaks(void);  // reports live allocations as leaks; how many there are

// What launches moved, when traffic is counted.
const char* cudasim_counters_json(void);  // every launch since the last clear, oldest first
uint64_t cudasim_counters_launches(void);
void cudasim_counters_clear(void);

// Arenas: names for reports; parts that may not be touched; parts whose content counts as never written.
void cudasim_memory_name(uint64_t pointer, size_t bytes, const char* name);
void cudasim_memory_poison(uint64_t pointer, size_t bytes);
void cudasim_memory_unpoison(uint64_t pointer, size_t bytes);  // usable, never written

#ifdef __cplusplus
}
#endif
