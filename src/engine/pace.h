// How much of prompts a step can read in a given time.
#pragma once

#include <algorithm>

namespace anser {

// How long tokens of prompts take, beside what a step takes anyhow; a moving average.
class Pace {
 public:
  void learn(int prompt_rows, bool writing, double seconds) {
    if (prompt_rows == 0) {
      step_s_ = mixed(step_s_, seconds);
    } else if (prompt_rows >= kLeast) {
      const double rest = seconds - (writing ? step_s_ : 0);
      row_s_ = mixed(row_s_, std::max(rest, seconds / 10) / prompt_rows);
    }
  }

  int rows_in(double seconds) const {
    if (row_s_ == 0) return kLeast;
    return int(std::clamp(seconds / row_s_, double(kLeast), double(kMost)));
  }

 private:
  static constexpr int kLeast = 16, kMost = 4096;
  static double mixed(double old, double now) { return old == 0 ? now : 0.7 * old + 0.3 * now; }
  double step_s_ = 0, row_s_ = 0;
};

}  // namespace anser
