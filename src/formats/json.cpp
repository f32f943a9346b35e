#include "formats/json.h"

#include "base/json_check.h"
#include "formats/checks.h"

namespace anser {

using Json = nlohmann::json;

Json parse_json(std::string_view text, const std::string& what, size_t max_depth) {
  try {
    check_json<Json>(text, max_depth);
    return Json::parse(text);
  } catch (const JsonFault& fault) {
    switch (fault.kind) {
      case JsonFault::Kind::repeated_key:
        fail(what, "the key {} stands there twice", printable(fault.key));
      case JsonFault::Kind::too_deep:
        fail(what, "nested more than {} deep", max_depth);
      default:
        fail(what, "not valid JSON at byte {} (or not UTF-8). {}", fault.position, kFetchAgain);
    }
  } catch (const Json::exception& error) {
    fail(what, "not valid JSON: {}", printable(error.what()));
  }
}

}  // namespace anser
