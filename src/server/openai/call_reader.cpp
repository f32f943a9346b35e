#include "server/openai/call_reader.h"

#include <algorithm>
#include <optional>

#include "base/read_json.h"
#include "server/openai/call_arguments.h"
#include "server/openai/json_depth.h"
#include "server/openai/tool_text.h"

namespace anser::openai {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";
using Verdict = ReadCall::Verdict;

// A place in the text, which goes on.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  void skip(size_t size) { at_ += size; }
  std::string_view rest() {
    at_ = std::min(text_.size(), text_.find_first_not_of(kSpaces, at_));
    return text_.substr(at_);
  }
  size_t at() const { return at_; }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// The object that `text` begins with: up to the bracket that closes it. Fences may stand in its
// strings.
std::optional<std::string_view> object_at(std::string_view text) {
  JsonDepth depth;
  for (size_t i = 0; i < text.size(); ++i) {
    if (depth.take(text[i]) == 0 && (text[i] == '}' || text[i] == ']'))
      return text.substr(0, i + 1);
  }
  return std::nullopt;
}

std::string arguments_of(const Json& object) {
  auto at = object.find("arguments");
  if (at == object.end()) at = object.find("parameters");
  if (at == object.end()) return "{}";
  return call_arguments(*at).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

ReadCall read_call(std::string_view text, std::string_view mark, const std::vector<Tool>& tools,
                   bool end) {
  const ReadCall none{Verdict::none}, undecided{end ? Verdict::none : Verdict::undecided};
  Cursor cursor(text);
  cursor.skip(mark.size());
  bool fenced = mark == kCallFence;
  if (!fenced) {
    const std::string_view rest = cursor.rest();
    if (rest.size() < kCallFence.size() && kCallFence.starts_with(rest)) return undecided;
    fenced = rest.starts_with(kCallFence);
    if (fenced) cursor.skip(kCallFence.size());
  }
  const std::string_view body = cursor.rest();
  if (body.empty()) return undecided;
  if (body[0] != '{') return none;
  const std::optional<std::string_view> written = object_at(body);
  if (!written) return undecided;
  cursor.skip(written->size());

  const Json object = find_json<Json>(*written).value_or(nullptr);
  if (!object.is_object()) return none;
  const auto name = object.find("name");
  if (name == object.end() || !name->is_string()) return none;
  const auto is_it = [&](const Tool& tool) { return tool.name == name->get<std::string>(); };
  if (std::ranges::none_of(tools, is_it)) return none;

  ReadCall call{Verdict::call, 0, name->get<std::string>(), arguments_of(object)};
  // False: it may still come.
  const auto close = [&](std::string_view closing) {
    const std::string_view rest = cursor.rest();
    if (rest.starts_with(closing)) return cursor.skip(closing.size()), true;
    if (!closing.starts_with(rest)) return true;
    if (end) cursor.skip(rest.size());
    return end;
  };
  if (fenced) {
    const std::string_view rest = cursor.rest();
    if (!rest.starts_with(kFence) && !kFence.starts_with(rest)) return none;
    if (!close(kFence)) return undecided;
  }
  if (mark == kCallTag && !close(kCallTagEnd)) return undecided;
  call.size = cursor.at();
  return call;
}

}  // namespace anser::openai
