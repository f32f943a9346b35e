#include "formats/json.h"

#include <set>
#include <vector>

#include "formats/checks.h"

namespace anser {

nlohmann::json parse_json(std::string_view text, const std::string& what, int max_depth) {
  using Json = nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  // nlohmann's parser keeps its nesting on the heap; the cap is there for the memory it takes and
  // for whatever walks the value afterwards.
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= max_depth) fail(what, "nested more than {} deep", max_depth);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        fail(what, "the key {} stands there twice", printable(key));
      }
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::parse_error& error) {
    fail(what, "not valid JSON at byte {} (or not UTF-8). {}", error.byte, kFetchAgain);
  } catch (const Json::exception& error) {
    fail(what, "not valid JSON: {}", printable(error.what()));
  }
}

}  // namespace anser
