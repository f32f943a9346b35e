#include "formats/json.h"

#include <set>
#include <vector>

#include "formats/checks.h"

namespace anser {
namespace {

using Json = nlohmann::json;

// Looks at a text's events without building anything. A parser callback could do the same, but
// makes nlohmann search the parent each time an object or list ends: quadratic in hostile texts.
class Checker final : public nlohmann::json_sax<Json> {
 public:
  Checker(const std::string& what, size_t max_depth) : what_(what), max_depth_(max_depth) {}

  bool start_object(size_t) override { return open(); }
  bool start_array(size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& text) override {
    if (!keys_.back().insert(text).second) {
      fail(what_, "the key {} stands there twice", printable(text));
    }
    return true;
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }

  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    fail(what_, "not valid JSON at byte {} (or not UTF-8). {}", position, kFetchAgain);
  }

 private:
  bool open() {
    if (keys_.size() == max_depth_) fail(what_, "nested more than {} deep", max_depth_);
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  const std::string& what_;
  const size_t max_depth_;
  std::vector<std::set<std::string>> keys_;  // of each object or list that is open
};

}  // namespace

Json parse_json(std::string_view text, const std::string& what, size_t max_depth) {
  try {
    Checker checker(what, max_depth);
    Json::sax_parse(text, &checker);
    return Json::parse(text);
  } catch (const Json::exception& error) {
    fail(what, "not valid JSON: {}", printable(error.what()));
  }
}

}  // namespace anser
