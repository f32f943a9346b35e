// Which handler a request goes to, by method and path.
//
//     Router router;
//     router.add("GET", "/v1/states/{id}", [](Request request, std::shared_ptr<Reply> reply) {
//       ... request.capture("id") ...
//     });
//     options.body_refusal = std::bind_front(&Router::refusal, router);
//     Server server(options, std::move(router));
//
// A pattern's segments stand for themselves or, in braces, for any one segment, which may not be
// empty. What is captured is percent-decoded, and never "." or "..", never with a '/', a '\' or a
// control character: such paths get 400 wherever they lead, and so do queries with broken escapes.
// A last segment {id...} stands for one or several: "a/b" and "a%2Fb" are both captured as "a/b",
// of which every segment is as above.
// No path gets 404; a path that has other methods gets 405 with Allow. HEAD goes to GET's handler
// where it has none. "OPTIONS *" is answered with the methods of all paths. The route that was
// added first wins.
//
// add() before the server starts; then the rest may be called by several threads at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/http/server.h"

namespace anser::http {

class Router {
 public:
  // `refusal`: see refusal() below; empty: the handler refuses nobody for what a header says.
  void add(std::string method, std::string_view pattern, Handler handler,
           Options::AskRefusal refusal = {});

  void operator()(Request request, std::shared_ptr<Reply> reply) const;

  // For Options::body_refusal: 400, 404 or 405 where no handler would be called, else what the
  // route's own `refusal` says.
  std::optional<Refusal> refusal(const Request& header) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> pattern;
    Handler handler;
    Options::AskRefusal refusal;
  };
  // The route of a request, or why there is none.
  struct Found {
    const Route* route = nullptr;
    std::vector<std::pair<std::string, std::string>> captures = {};
    Refusal refusal = {};
  };
  Found find(const Request& request) const;
  std::string all_methods() const;

  std::vector<Route> routes_;
};

}  // namespace anser::http
