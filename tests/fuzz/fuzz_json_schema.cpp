// Schemas, by themselves and as the parameters of functions: anything but an Error is a bug; and
// what a grammar allows, chosen by the input's own bytes, must have a way on until it is complete,
// and be JSON then.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "anser/constraint.h"
#include "anser/error.h"
#include "base/check.h"

namespace {

// Texts are at most this long, then no end is looked for.
constexpr int kMaxText = 300;

// Returns what is complete; else nothing.
std::string write(anser::ConstraintMatcher matcher, const std::string& choices) {
  std::string text;
  for (size_t i = 0; i < size_t(kMaxText) && matcher.open(); ++i) {
    if (matcher.complete() && i % 2 == 0) break;
    const std::span<const uint64_t> allowed = matcher.allowed();
    std::vector<char> bytes;
    for (int byte = 0; byte < 256; ++byte) {
      if (allowed[size_t(byte) / 64] >> byte % 64 & 1) bytes.push_back(char(byte));
    }
    ANSER_CHECK(!bytes.empty());
    const char byte =
        bytes[(uint8_t(choices[i % choices.size()]) + i / choices.size()) % bytes.size()];
    ANSER_CHECK(matcher.accept({&byte, 1}));
    text += byte;
  }
  if (!matcher.complete()) return "";
  ANSER_CHECK(nlohmann::json::accept(text));
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data), size);
  static const anser::Tokenizer bytes = anser::Tokenizer::bytes();
  try {
    write(anser::ConstraintMatcher(anser::Constraint::json_schema(bytes, 256, text)), text);
  } catch (const anser::Error&) {
  }
  try {
    const anser::Constraint::Function functions[] = {{"f", text}, {"g", ""}};
    const std::string call =
        write(anser::ConstraintMatcher(anser::Constraint::json_call(bytes, 256, functions)), text);
    ANSER_CHECK(call.empty() || nlohmann::json::parse(call).at("arguments").is_object());
  } catch (const anser::Error&) {
  }
  return 0;
}
