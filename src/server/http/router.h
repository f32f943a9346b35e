// Which handler a request goes to, by method and path.
//
//     Router router;
//     router.add("GET", "/v1/states/{id}", [](Request request, std::shared_ptr<Reply> reply) {
//       ... request.capture("id") ...
//     });
//     Server server(options, std::move(router));
//
// A pattern's segments stand for themselves or, in braces, for any one segment, which may not be
// empty. What is captured is percent-decoded, and never "." or "..", never with a '/', a '\' or a
// control character: such paths get 400 wherever they lead, and so do queries with broken escapes.
// No path gets 404; a path that has other methods gets 405 with Allow. HEAD goes to GET's handler
// where it has none. The route that was added first wins.
//
// add() before the server starts; then it may be called by several threads at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/server.h"

namespace anser::http {

class Router {
 public:
  void add(std::string method, std::string_view pattern, Handler handler);

  void operator()(Request request, std::shared_ptr<Reply> reply) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> pattern;
    Handler handler;
  };
  const Route* find(const std::string& method, const std::vector<std::string>& path) const;

  std::vector<Route> routes_;
};

}  // namespace anser::http
