#include "server/openai/json_pieces.h"

#include <iterator>
#include <utility>

namespace anser::openai {
namespace {

constexpr size_t kPiece = 64 << 10;

}  // namespace

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
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
