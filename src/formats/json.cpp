#include "formats/json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "anser/error.h"

namespace anser {

nlohmann::json parse_json(std::string_view text, const std::string& what) {
  using Json = nlohmann::json;
  constexpr int kMaxDepth = 64;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  // nlohmann's parser keeps its nesting on the heap; the cap is there for the destructor and for
  // whatever walks the value afterwards.
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) throw Error(fmt::format("{}: nested too deeply", what));
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys.back().insert(value.get<std::string>()).second) {
      throw Error(fmt::format("{}: the key {} stands there twice", what, value.get<std::string>()));
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: not valid JSON: {}", what, error.what()));
  }
}

}  // namespace anser
