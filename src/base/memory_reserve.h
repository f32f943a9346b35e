// Memory for the time when there is none: destructors of what a failure unwinds may need some, and
// must not fail (nlohmann's JSON does so).
#pragma once

namespace anser {

// From now on the first allocation that fails has a part of a reserve freed, and is tried again;
// the next one throws std::bad_alloc, as ever, with the rest of the reserve there to unwind. The
// reserve is never touched, and takes no memory, only 32 MB of address space.
void keep_memory_reserve();

// Takes it up again where it was freed, or as much of it as there is. False: there is no room for
// any, and an allocation has failed within the last second, so that new work should be refused.
// True, at no cost, where it is there or none is kept.
bool renew_memory_reserve() noexcept;

}  // namespace anser
