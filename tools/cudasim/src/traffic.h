// Counting what a launch moves.
#pragma once
#include "execution.h"

namespace cudasim {

// Forms the memory requests of all warps of a block out of what its threads did since the last time.
void flush_block(Block& block);

// Keeps a finished launch's counters.
void keep_counters(const Launch& launch);
std::string counters_json();  // every launch, oldest first
size_t counted_launches();
void clear_counters();

}  // namespace cudasim
