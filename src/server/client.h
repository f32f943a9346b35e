// Who a request comes from, as far as shares and the prefix cache go.
#pragma once

#include <string>

namespace anser {

// Without keys a client is an address: of IPv4 the whole, of IPv6 the network of 64 bits, which is
// what one gets. Behind a proxy all are one.
std::string client_of_peer(const std::string& peer);

// With keys it is the key's holder, wherever the requests come from.
std::string client_of_holder(const std::string& holder);

}  // namespace anser
