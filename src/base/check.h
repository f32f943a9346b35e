// ANSER_CHECK(condition): an invariant of our own. A user cannot make it fail; if it fails, the
// program has a bug and stops at once. What a user can cause is anser::Error instead.
#pragma once

namespace anser {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace anser

#define ANSER_CHECK(condition) \
  ((condition) ? void(0) : ::anser::check_failed(#condition, __FILE__, __LINE__))
