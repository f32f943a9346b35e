#include "server/http/reply.h"

#include "server/http/exchange.h"

namespace anser::http {

Reply::Reply(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
Reply::~Reply() {
  exchange_->abandon();
}

void Reply::send(int status, std::string_view content_type, std::string_view body,
                 const Headers& more) {
  exchange_->send(status, content_type, body, more);
}
void Reply::error(int status, const std::string& message, const Headers& more) {
  exchange_->error(status, message, more);
}
void Reply::begin(int status, std::string_view content_type, const Headers& more,
                  std::optional<uint64_t> length) {
  exchange_->begin(status, content_type, more, length);
}
bool Reply::write(std::string_view chunk) {
  return exchange_->write(chunk);
}
void Reply::end() {
  exchange_->end();
}
void Reply::on_drained(std::function<void()> drained) {
  exchange_->on_drained(std::move(drained));
}
bool Reply::reserve(uint64_t bytes) {
  return exchange_->reserve(bytes);
}
bool Reply::wants_body() const {
  return exchange_->wants_body();
}
bool Reply::closed() const {
  return exchange_->closed();
}
void Reply::on_close(std::function<void()> gone) {
  exchange_->on_close(std::move(gone));
}
uint64_t Reply::pending() const {
  return exchange_->pending();
}

}  // namespace anser::http
