// The page at `/`: a chat, the tree of saved states, and a picture of the state at work. Files that
// are linked into the program (CMakeLists.txt), sent as they are; what the page shows it asks of
// the API, with the key that its user gives it, as any other client does.
//
//   GET /              index.html
//   GET /page/{file}   what it loads: style, scripts, icon
//
// Needs no key. The Content-Security-Policy lets the page load and ask nothing but this server:
// no inline script, no other origin, no frame around it.
#pragma once

#include <vector>

#include "server/route.h"

namespace anser {

std::vector<Route> page_routes();

}  // namespace anser
