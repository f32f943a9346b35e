// Bodies that are made while they are sent, so that no more of one stands in memory than its client
// has room for.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/errands.h"
#include "server/http/reply.h"

namespace anser {

// The next piece of a body; empty: there are no more.
using Pieces = std::function<std::string()>;

// Sends all that is left, of a reply that has begun: each piece as an errand, when the client has
// taken the one before. What `next` throws cuts the client off, which must not take a part for the
// whole. `errands` must outlive the reply's connection.
void send_pieces(std::shared_ptr<http::Reply> reply, Pieces next, Errands& errands);

// The same for a body of JSON, of which `begun` is the beginning: with its length, as long as that
// is no more than a megabyte, else as a stream. For an errand.
void send_json_pieces(std::shared_ptr<http::Reply> reply, std::string begun, Pieces next,
                      Errands& errands);

}  // namespace anser
