// What a handler throws, told to the client.
#pragma once

#include <memory>
#include <new>
#include <string>

#include "anser/error.h"
#include "base/memory_reserve.h"
#include "server/http/reply.h"
#include "server/openai/api_error.h"
#include "server/store_answers.h"

namespace anser {

inline constexpr char kNoMemory[] =
    "the server has no memory left for this request; try again when there are fewer, or ask for "
    "less";
// For what nobody has foreseen, whose own words may name a place: those are for the log.
inline constexpr char kInternalError[] = "internal error: the request could not be answered";
inline constexpr char kJsonType[] = "application/json";
inline constexpr char kEventsType[] = "text/event-stream";
// What a 401 asks for (RFC 9110, 11.6.1); browsers show no window for it.
inline constexpr char kChallenge[] = "Bearer realm=\"anser\"";

inline void send_json(http::Reply& reply, const openai::Json& body) {
  reply.send(200, kJsonType, body.dump(-1, ' ', false, openai::Json::error_handler_t::replace));
}

inline void send_error(http::Reply& reply, const openai::ApiError& error) {
  http::Headers more;
  if (error.status() == 429 || error.status() == 503) more.add("Retry-After", "1");
  if (error.status() == 401) more.add("WWW-Authenticate", kChallenge);
  reply.send(error.status(), kJsonType, error.body(), more);
}

// Runs `work`, which must not have answered when it throws. Of Errors that are no ApiErrors the
// client's request is to blame.
template <class Work>
void answering(http::Reply& reply, Work&& work) {
  try {
    if (!renew_memory_reserve()) throw std::bad_alloc();
    work();
  } catch (const openai::ApiError& error) {
    send_error(reply, error);
  } catch (const std::bad_alloc&) {
    // Also in the midst of an answer, which is then cut off.
    reply.error(503, kNoMemory, {{"Retry-After", "1"}});
  } catch (const StoreError& error) {
    send_error(reply, api_error_of(error));
  } catch (const Error& error) {
    send_error(reply, {400, "invalid_request_error", error.what()});
  }
}

}  // namespace anser
