// /openapi.json: the server's addresses as a program reads them (OpenAPI 3.1).
#pragma once

#include <string>
#include <vector>

#include "server/openai/api_error.h"
#include "server/route.h"

namespace anser {

// Made of the routes, and of what openapi_components.json says of their bodies, parameters and
// errors. `with_keys`: a client needs one. Throws Error for a route that is not described, or that
// names what is not there.
openai::Json openapi_document(const std::vector<Route>& routes, bool with_keys);

}  // namespace anser
