#include "grammar/compile_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/check.h"

namespace anser {
namespace {

// Some 20 MB. What people write has a few thousand states.
constexpr size_t kMaxStates = 200'000, kMaxEdges = 600'000;
// Of schemas as they are followed, merges included.
constexpr size_t kMaxMerged = 4 << 20;
// Of all that is copied, compared and searched on the way; a few tenths of a second.
constexpr size_t kMaxBytes = 32 << 20;

constexpr size_t kTicks = 512;  // between two looks at the clock

// Of this thread, so that others on a busy machine do not make a schema too large.
double thread_seconds() {
  timespec time;
  ANSER_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

}  // namespace

CompileBudget::CompileBudget() : begin_(thread_seconds()) {}

void CompileBudget::exceed(const std::string& what) const {
  const auto half = [](size_t now, size_t before, size_t most) { return now - before > most / 2; };
  throw BudgetExceeded(what, half(spent_.states, before_.states, kMaxStates) ||
                                 half(spent_.edges, before_.edges, kMaxEdges) ||
                                 half(spent_.merged, before_.merged, kMaxMerged) ||
                                 half(spent_.bytes, before_.bytes, kMaxBytes) ||
                                 spent_.seconds - before_.seconds > kMaxSeconds / 2);
}

void CompileBudget::look_at_clock() {
  ticks_ = 0;
  spent_.seconds = thread_seconds() - begin_;
  if (spent_.seconds <= kMaxSeconds) return;
  exceed(
      fmt::format("the schema takes longer than {} s to be compiled. Use fewer or simpler "
                  "enums, patterns, properties and references",
                  kMaxSeconds));
}

void CompileBudget::add_state() {
  if (++spent_.states > kMaxStates) {
    exceed(
        fmt::format("the schema is too large: its grammar has more than {} states. Use fewer or "
                    "shorter enums, patterns and properties",
                    kMaxStates));
  }
  if (++ticks_ >= kTicks) look_at_clock();
}

void CompileBudget::add_edge() {
  if (++spent_.edges > kMaxEdges) {
    exceed(fmt::format(
        "the schema is too large: its grammar has more than {} edges. Use simpler patterns",
        kMaxEdges));
  }
  if (++ticks_ >= kTicks) look_at_clock();
}

void CompileBudget::spend(size_t bytes) {
  spent_.bytes += std::min(bytes, 2 * kMaxBytes);
  if (spent_.bytes > kMaxBytes) {
    exceed(
        fmt::format("the schema multiplies to too much: more than {} MB of it had to be copied "
                    "or searched. Use fewer allOf, anyOf and $ref beside other keywords",
                    kMaxBytes >> 20));
  }
  ticks_ += 1 + bytes / 64;
  if (ticks_ >= kTicks) look_at_clock();
}

void CompileBudget::keep_merged(size_t bytes, const std::string& pointer) {
  spent_.merged += bytes;
  if (spent_.merged > kMaxMerged) {
    exceed(fmt::format(
        "the schema at {}: allOf, anyOf and $ref beside other keywords multiply to too much",
        pointer));
  }
}

void CompileBudget::begin_part() {
  look_at_clock();
  before_ = spent_;
}

}  // namespace anser
