#include "server/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <string_view>

namespace anser {

std::string client_of_peer(const std::string& peer) {
  constexpr std::string_view kMapped = "::ffff:";  // an IPv4 address
  if (peer.starts_with(kMapped) && peer.find('.') != peer.npos) {
    return "peer:" + peer.substr(kMapped.size());
  }
  in6_addr address{};
  const std::string without_zone = peer.substr(0, peer.find('%'));
  if (inet_pton(AF_INET6, without_zone.c_str(), &address) != 1) return "peer:" + peer;
  if (IN6_IS_ADDR_LOOPBACK(&address)) return "peer:" + without_zone;
  std::fill(address.s6_addr + 8, address.s6_addr + 16, uint8_t{0});
  char network[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &address, network, sizeof network);
  return std::string("peer:") + network + "/64";
}

std::string client_of_holder(const std::string& holder) {
  return "key:" + holder;
}

}  // namespace anser
