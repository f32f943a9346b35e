#pragma once

#include <cstdint>

namespace anser {

// The limit of the format's own library.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

}  // namespace anser
