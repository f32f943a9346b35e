// Memory for the logprobs of an answer until it is sent.
#pragma once

#include <cstdint>

#include "server/memory_budget.h"

namespace anser {

// For the details of so many tokens, which take so many bytes. Throws ApiError: 503 where others
// have taken the room, 400 that names `field` where it would never do.
MemoryBudget::Share room_for_logprobs(MemoryBudget& budget, uint64_t tokens, uint64_t bytes,
                                      const char* field);

}  // namespace anser
