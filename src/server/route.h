// One address of the server: what it does, and what /openapi.json says of it. Service::table() is
// the one list of them, of which both the router and the description are made (openapi.h).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/http/reply.h"
#include "server/http/request.h"

namespace anser {

// A body of a media type. `schema` is the name of one in openapi_components.json.
struct Content {
  const char* type;
  const char* schema;
};

struct Operation {
  const char* id;  // operationId: unique, what generators of clients make a function's name of
  const char* tag;
  const char* summary;
  std::vector<const char*> parameters;  // of path and query; names in openapi_components.json
  std::vector<Content> body;            // one of them comes; empty: none does
  std::vector<Content> answers;         // with status 200
  std::vector<int> errors;              // beyond those that every address may give (openapi.cpp)
  bool body_may_be_missing = false;
};

struct Route {
  const char* method;
  const char* path;  // a pattern of http::Router
  Operation operation;
  // Throws what answering() takes.
  std::function<void(http::Request&, const std::shared_ptr<http::Reply>&)> handle;
  bool on_worker = true;  // false: by HTTP's own threads, as it takes no time
  bool needs_key = true;
};

}  // namespace anser
