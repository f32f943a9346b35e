// What may be spent on making a grammar, however large the schemas are that few words multiply to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "anser/error.h"

// Whether the compiler adds checks to every access to memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ANSER_CHECKS_ACCESSES true
#elif defined(__has_feature)
#define ANSER_CHECKS_ACCESSES (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define ANSER_CHECKS_ACCESSES false
#endif

namespace anser {

// `alone`: what has been spent since CompileBudget::begin_part() would have been too much by
// itself.
struct BudgetExceeded : Error {
  BudgetExceeded(const std::string& what, bool is_alone) : Error(what), alone(is_alone) {}
  bool alone;
};

// One of these for one grammar, passed to all that work on it. All throw BudgetExceeded.
class CompileBudget {
 public:
  // Of the thread that compiles. Programs for tests, which are not optimised or look over every
  // access, take many times as long.
#ifdef __OPTIMIZE__
  static constexpr double kMaxSeconds = ANSER_CHECKS_ACCESSES ? 3 : 0.5;
#else
  static constexpr double kMaxSeconds = 3;
#endif

  CompileBudget();

  void add_state();
  void add_edge();
  // `bytes` of schemas are about to be copied, compared or searched; a value counts as 16.
  void spend(size_t bytes);
  // A schema that was merged of others is kept.
  void keep_merged(size_t bytes, const std::string& pointer);

  // Whether there is room for so many more steps of making patterns simpler, which can be left.
  bool may_simplify(size_t steps) {
    simplified_ += steps;
    return simplified_ <= kMaxSimplified;
  }

  // What follows is one of several schemas.
  void begin_part();

 private:
  struct Spent {
    size_t states = 0, edges = 0, merged = 0, bytes = 0;
    double seconds = 0;
  };
  [[noreturn]] void exceed(const std::string& what) const;
  void look_at_clock();

  Spent spent_, before_;  // now, and when the part in work began
  static constexpr size_t kMaxSimplified = 32'000'000;
  size_t simplified_ = 0;
  const double begin_;  // seconds of the thread's time
  size_t ticks_ = 0;
};

}  // namespace anser
