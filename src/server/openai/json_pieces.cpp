#include "server/openai/json_pieces.h"

#include <iterator>
#include <string_view>
#include <utility>

namespace anser::openai {
namespace {

constexpr size_t kPiece = 64 << 10;

}  // namespace

std::string escape_line_ends(std::string json) {
  struct LineEnd {
    std::string_view bytes, escape;
  };
  constexpr LineEnd kLineEnds[] = {
      {"\xC2\x85", "\\u0085"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}};
  for (const auto& [bytes, escape] : kLineEnds) {
    size_t at = json.find(bytes);
    if (at == std::string::npos) continue;
    std::string escaped;
    size_t begin = 0;
    for (; at != std::string::npos; at = json.find(bytes, begin)) {
      escaped.append(json, begin, at - begin).append(escape);
      begin = at + bytes.size();
    }
    json = escaped.append(json, begin, std::string::npos);
  }
  return json;
}

std::string dumped(const Json& json) {
  return escape_line_ends(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void JsonPieces::add(std::string text) {
  parts_.push_back([text = std::move(text)](std::string& to) {
    to += text;
    return false;
  });
}

void JsonPieces::add_later(std::function<std::string()> part) {
  parts_.push_back([part = std::move(part)](std::string& to) {
    to += part();
    return false;
  });
}

void JsonPieces::add_list(size_t count, Entry entry) {
  parts_.push_back([count, entry = std::move(entry), i = size_t{0}](std::string& to) mutable {
    to += i == 0 ? "[" : ",";
    if (i < count) entry(i, to);
    if (++i < count) return true;
    to += "]";
    return false;
  });
}

void JsonPieces::add(JsonPieces&& pieces) {
  std::move(pieces.parts_.begin(), pieces.parts_.end(), std::back_inserter(parts_));
}

std::string JsonPieces::rest() {
  std::string all;
  for (std::string some = next(); !some.empty(); some = next()) all += some;
  return all;
}

std::string JsonPieces::next() {
  std::string piece;
  while (piece.size() < kPiece && at_ < parts_.size()) {
    if (parts_[at_](piece)) continue;
    parts_[at_] = nullptr;  // what it holds may be large
    ++at_;
  }
  return piece;
}

}  // namespace anser::openai
