#include "text/fill_in_the_middle.h"

#include <fmt/format.h>

namespace anser {

std::string fill_in_the_middle(std::string_view before, std::string_view after) {
  return fmt::format("{0}prefix{0}{0}suffix{0}{1}{0}middle{0}{2}", kFillStop, after, before);
}

}  // namespace anser
