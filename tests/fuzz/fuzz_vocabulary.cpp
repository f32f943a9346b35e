// Vocabularies in both written forms: anything but an Error is a bug, and what loads must encode
// and decode any bytes without loss.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "anser/error.h"
#include "anser/tokenizer.h"
#include "base/check.h"
#include "cost.h"

namespace {

using anser::Tokenizer;

void check_round_trip(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<anser::Token> ids = tokenizer.encode(text);
  ANSER_CHECK(ids.size() <= text.size());
  for (const anser::Token id : ids) ANSER_CHECK(id >= 0 && id < tokenizer.size());
  // Control tokens are read as their names, and written as nothing.
  std::string read;
  bool controls = false;
  for (const anser::Token id : ids) {
    const auto added = std::ranges::find(tokenizer.added(), id, &anser::AddedToken::id);
    const bool control = added != tokenizer.added().end() && added->control;
    controls |= control;
    read += control ? std::string_view(added->text) : tokenizer.bytes_of(id);
  }
  ANSER_CHECK(read == text);
  ANSER_CHECK(controls || tokenizer.decode(ids) == text);
}

// The input alone seldom has all 256 bytes, so it is also tried behind them.
void try_text(const std::string& text) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    bytes += fmt::format("{} b'\\x{:02x}' 1\n", byte + 1, byte);
  }
  for (const std::string& prefix : {std::string(), bytes}) {
    try {
      check_round_trip(Tokenizer::from_vocabulary(prefix + text, "fuzz"), text);
    } catch (const anser::Error&) {
    }
  }
}

// One token a line; a line that begins with '!' is a control token, with '+' an added one, with '<'
// a byte.
void try_escaped(const std::string& text) {
  std::vector<std::string> tokens = {"<s>"};
  std::vector<int64_t> types = {3};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("\\x{:02x}", byte));
    types.push_back(1);
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    types.push_back(text[at] == '!' ? 3 : text[at] == '+' ? 4 : text[at] == '<' ? 6 : 1);
    tokens.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  try {
    check_round_trip(Tokenizer::from_escaped(tokens, types, "fuzz"), text);
  } catch (const anser::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto read = [&] {
    try_text(text);
    try_escaped(text);
  };
  fuzz::bound_cost("three vocabularies", size, read, 3);
  if (fuzz::grows(data, size)) {
    const std::string many = fuzz::repeated(text);
    fuzz::bound_cost(
        "a vocabulary of repeated lines", many.size(), [&] { try_escaped(many); }, 3);
    fuzz::bound_cost(
        "a text in bytes", many.size(), [&] { try_text(many); }, 3);
  }
  return 0;
}
