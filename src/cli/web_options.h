// Which names and which web pages may reach the server: --allowed-host, --cors-origin.
#pragma once

#include <string>
#include <vector>

#include "server/web_policy.h"

namespace CLI {
class App;
}

namespace anser {

struct WebFlags {
  std::vector<std::string> allowed_hosts, cors_origins;

  void add_to(CLI::App& command);
  // `listening`: --host; a name given there is the server's own. Throws CLI::ValidationError.
  WebPolicyOptions policy(const std::string& listening, bool with_key) const;
};

}  // namespace anser
