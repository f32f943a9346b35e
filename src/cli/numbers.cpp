#include "cli/numbers.h"

#include <fmt/format.h>

#include <algorithm>

namespace anser {

std::string format_count(int64_t n) {
  std::string digits = fmt::format("{}", n);
  for (int at = int(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
    digits.insert(size_t(at), 1, ' ');
  return digits;
}

std::string format_bytes(size_t n) {
  const char* units[] = {"kB", "MB", "GB", "TB"};
  if (n < 1000) return fmt::format("{} bytes", n);
  double value = double(n) / 1000;
  int unit = 0;
  for (; value >= 999.95 && unit < 3; ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, value < 99.95 ? 1 : 0, units[unit]);
}

std::string format_rate(double value) {
  return fmt::format("{:.{}f}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

double median(double* values, int n) {
  std::sort(values, values + n);
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

}  // namespace anser
