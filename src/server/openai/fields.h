// Reading a JSON object that a stranger sent: fields that are absent or null are not there, fields
// nobody asks for are ignored, and a field of the wrong type or out of range is a 400 that names
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/read_json.h"
#include "server/openai/api_error.h"

namespace anser::openai {

// Parses the body of a request, which is an object, its keys in the order in which they came: that
// of a schema's properties is the order in which they are written. Throws ApiError.
inline constexpr JsonLimits kBodyLimits = {};
Json parse_body(std::string_view body);

// A value that is not what was expected, for an error: cut short, and of lists and objects the
// kind.
std::string shown(const Json& value);

class Fields {
 public:
  // `object` must outlive this. `path` goes before the names of fields in errors; empty for the
  // body itself. Throws ApiError when it is no object.
  explicit Fields(const Json& object, std::string path = {});

  std::optional<double> number(const char* name, double least, double most) const;
  std::optional<int64_t> integer(const char* name, int64_t least, int64_t most) const;
  // How many tokens an answer may have: whatever exceeds `most`, and -1, means `most`.
  std::optional<int> token_limit(const char* name, int least, int most) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<std::string> text(const char* name) const;
  // One of `choices`.
  std::optional<std::string> choice(const char* name,
                                    const std::vector<std::string_view>& choices) const;
  // A string or a list of strings, at most `most` of them; empty when it is absent.
  enum class Nulls : uint8_t { refused, skipped };  // in the list
  std::vector<std::string> texts(const char* name, size_t most, Nulls nulls = Nulls::refused) const;
  std::optional<Fields> object(const char* name) const;
  const Json* array(const char* name) const;
  const Json* any(const char* name) const;  // nullptr when absent

  std::string required_text(const char* name) const;

  // "messages[2].content"
  std::string path(const char* name) const;
  [[noreturn]] void fail(const char* name, const std::string& message) const;

 private:
  [[noreturn]] void wrong_type(const char* name, const Json& found, const char* expected) const;
  const Json* whole_number(const char* name) const;  // nullptr when absent

  const Json& object_;
  std::string path_;
};

}  // namespace anser::openai
