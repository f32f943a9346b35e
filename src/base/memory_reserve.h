// Memory for the time when there is none: destructors of what a failure unwinds may need some, and
// must not fail (nlohmann's JSON does so).
#pragma once

namespace anser {

// From now on an allocation that fails has a reserve of 16 MB freed first, and is tried again: what
// is small goes on, what is large throws std::bad_alloc, and then there is room to unwind. The
// reserve is never touched, and takes no memory before that, only address space.
void keep_memory_reserve();

// Takes it up again, if it was freed and there is room. Costs nothing otherwise. To be called when
// std::bad_alloc has been dealt with, and now and then.
void renew_memory_reserve() noexcept;

}  // namespace anser
