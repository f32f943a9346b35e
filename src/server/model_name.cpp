#include "server/model_name.h"

#include <fmt/format.h>

#include "anser/error.h"
#include "base/cut_text.h"
#include "server/http/request.h"
#include "text/utf8.h"

namespace anser {
namespace {

// Percent-encoded it has three times as much, of the 16 KiB that a request's header may have.
constexpr size_t kMostBytes = 200;

}  // namespace

bool can_be_model_name(std::string_view name) {
  return name.size() <= kMostBytes && is_valid_utf8(name) && http::is_path_of_segments(name);
}

void check_model_name(std::string_view name) {
  if (can_be_model_name(name)) return;
  throw Error(
      fmt::format("\"{}\" cannot be the name of a model, which is a part of an address, "
                  "/v1/models/NAME: expected 1 to {} bytes of UTF-8 without control characters and "
                  "\\, and between its slashes, if it has any, neither nothing nor . nor ..",
                  cut_text(name), kMostBytes));
}

}  // namespace anser
