#include "server/send_pieces.h"

#include <exception>
#include <utility>

#include "server/answering.h"

namespace anser {
namespace {

void send_next(const std::shared_ptr<http::Reply>& reply, const std::shared_ptr<Pieces>& next,
               Errands& errands) {
  try {
    const std::string piece = (*next)();
    if (piece.empty()) return reply->end();
    if (!reply->write(piece)) return;
  } catch (const std::exception&) {
    return reply->error(500, kInternalError);
  }
  reply->on_drained([reply, next, &errands] {
    errands.add([reply, next, &errands] { send_next(reply, next, errands); });
  });
}

}  // namespace

void send_pieces(std::shared_ptr<http::Reply> reply, Pieces next, Errands& errands) {
  if (!reply->wants_body()) return reply->end();
  send_next(reply, std::make_shared<Pieces>(std::move(next)), errands);
}

void send_json_pieces(std::shared_ptr<http::Reply> reply, std::string begun, Pieces next,
                      Errands& errands) {
  constexpr size_t kWhole = 1 << 20;
  try {
    std::string piece = next();
    while (!piece.empty() && begun.size() < kWhole) {
      begun += piece;
      piece = next();
    }
    if (piece.empty()) return reply->send(200, kJsonType, begun);
    begun += piece;
  } catch (const std::exception&) {
    return reply->error(500, kInternalError);
  }
  reply->begin(200, kJsonType);
  const auto rest = [begun = std::move(begun), next = std::move(next)]() mutable {
    return begun.empty() ? next() : std::exchange(begun, {});
  };
  send_pieces(std::move(reply), rest, errands);
}

}  // namespace anser
