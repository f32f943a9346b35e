#include "formats/shard_name.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace anser {

std::string ShardName::of(int other) const {
  return fmt::format("{}-{:05}-of-{:05}{}", prefix, other, count, ending);
}

std::optional<ShardName> parse_shard_name(const std::string& path) {
  constexpr std::string_view kPattern = "-ddddd-of-ddddd";
  const size_t dot = path.rfind('.');
  if (dot == std::string::npos || dot < kPattern.size()) return std::nullopt;
  const size_t start = dot - kPattern.size();
  const std::string_view middle = std::string_view(path).substr(start, kPattern.size());
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const bool fits =
        kPattern[i] == 'd' ? middle[i] >= '0' && middle[i] <= '9' : middle[i] == kPattern[i];
    if (!fits) return std::nullopt;
  }
  ShardName name{path.substr(0, start), path.substr(dot), 0, 0};
  std::from_chars(middle.data() + 1, middle.data() + 6, name.number);
  std::from_chars(middle.data() + 10, middle.data() + 15, name.count);
  if (name.number < 1 || name.number > name.count) return std::nullopt;
  return name;
}

}  // namespace anser
