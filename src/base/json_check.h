// Looks at a JSON text's events before anything is built of it: how deep it is nested, and that no
// object has a key twice. A parser's callback could do the same, but makes nlohmann search the
// parent each time an object or list ends, and its ordered objects are lists that it searches from
// the front: quadratic in hostile texts.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace anser {

// What is wrong, for the caller to put into words.
struct JsonFault {
  enum class Kind { syntax, too_deep, repeated_key, too_many_keys };
  Kind kind;
  size_t position = 0;   // of `syntax`, in bytes
  std::string key = {};  // of `repeated_key`
};

template <class Json>
class JsonCheck final : public nlohmann::json_sax<Json> {
 public:
  // `most_keys`: of one object.
  JsonCheck(size_t most_depth, size_t most_keys) : most_depth_(most_depth), most_keys_(most_keys) {}

  bool start_object(size_t) override { return open(); }
  bool start_array(size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& text) override {
    if (!keys_.back().insert(text).second) throw JsonFault{JsonFault::Kind::repeated_key, 0, text};
    if (keys_.back().size() > most_keys_) throw JsonFault{JsonFault::Kind::too_many_keys};
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(typename Json::binary_t&) override { return true; }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    throw JsonFault{JsonFault::Kind::syntax, position};
  }

 private:
  bool open() {
    if (keys_.size() == most_depth_) throw JsonFault{JsonFault::Kind::too_deep};
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  const size_t most_depth_, most_keys_;
  std::vector<std::set<std::string>> keys_;  // of each object or list that is open
};

// Throws JsonFault.
template <class Json>
void check_json(std::string_view text, size_t most_depth, size_t most_keys = size_t(-1)) {
  JsonCheck<Json> check(most_depth, most_keys);
  Json::sax_parse(text, &check);
}

}  // namespace anser
