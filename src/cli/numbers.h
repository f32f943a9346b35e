// Numbers for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace anser {

std::string format_count(int64_t n);  // "7340032" -> "7 340 032"
std::string format_bytes(size_t n);   // "7.5 MB": powers of 1000, as disks and GB/s count
std::string format_rate(
    double value);  // three significant digits, no exponent: "0.95", "12.3", "1234"

double median(double* values, int n);  // reorders them; n >= 1

}  // namespace anser
