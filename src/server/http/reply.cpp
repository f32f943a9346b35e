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
void Reply::begin(int status, std::string_view content_type, const Headers& more) {
  exchange_->begin(status, content_type, more);
}
bool Reply::write(std::string_view chunk) {
  return exchange_->write(chunk);
}
void Reply::end() {
  exchange_->end();
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
