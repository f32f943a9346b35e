#include "server/page/page.h"

#include <string_view>

// Where it is asked for, what it is, and which blob of CMakeLists.txt it is.
#define ANSER_PAGE_FILES(X)                              \
  X("/", "text/html; charset=utf-8", index)              \
  X("/page/style.css", "text/css; charset=utf-8", style) \
  X("/page/icon.svg", "image/svg+xml", icon)             \
  X("/page/main.js", kScript, main)                      \
  X("/page/api.js", kScript, api)                        \
  X("/page/tree.js", kScript, tree)                      \
  X("/page/states.js", kScript, states)                  \
  X("/page/writing.js", kScript, writing)                \
  X("/page/picture.js", kScript, picture)

#define ANSER_DECLARE(path, type, name)           \
  extern "C" const char anser_blob_page_##name[]; \
  extern "C" const char anser_blob_page_##name##_end[];
ANSER_PAGE_FILES(ANSER_DECLARE)
#undef ANSER_DECLARE

namespace anser {
namespace {

constexpr char kScript[] = "text/javascript; charset=utf-8";

struct File {
  const char *path, *content_type;
  const char *begin, *end;
};

#define ANSER_FILE(path, type, name) \
  {path, type, anser_blob_page_##name, anser_blob_page_##name##_end},
const File kFiles[] = {ANSER_PAGE_FILES(ANSER_FILE)};
#undef ANSER_FILE

const http::Headers& page_headers() {
  static const http::Headers headers = {
      {"Content-Security-Policy",
       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
       "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"},
      // Another program's page at the same address must not be taken for this one's.
      {"Cache-Control", "no-cache"}};
  return headers;
}

// A file's name is what stands behind its last slash.
std::string_view name_of(const File& file) {
  const std::string_view path = file.path;
  return path.substr(path.rfind('/') + 1);
}

void send(http::Reply& reply, std::string_view name) {
  for (const File& file : kFiles) {
    if (name_of(file) != name) continue;
    return reply.send(200, file.content_type, std::string_view(file.begin, file.end),
                      page_headers());
  }
  reply.error(404, "the page has no such file");
}

}  // namespace

std::vector<Route> page_routes() {
  static constexpr char kTag[] = "page";
  return {
      {.method = "GET",
       .path = "/",
       .operation = {"getPage",
                     kTag,
                     "A page for people, in a browser",
                     {},
                     {},
                     {{"text/html", "Text"}},
                     {}},
       .handle = [](const http::Request&, const auto& reply) { send(*reply, ""); },
       .on_worker = false,
       .needs_key = false},
      {.method = "GET",
       .path = "/page/{file}",
       .operation = {"getPageFile",
                     kTag,
                     "A file that the page loads",
                     {"pageFile"},
                     {},
                     {{"text/css", "Text"}, {"text/javascript", "Text"}, {"image/svg+xml", "Text"}},
                     {404}},
       .handle = [](const http::Request& request,
                    const auto& reply) { send(*reply, request.capture("file")); },
       .on_worker = false,
       .needs_key = false}};
}

}  // namespace anser
