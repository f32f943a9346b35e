#include "server/openapi.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "anser/error.h"
#include "anser/version.h"
#include "base/read_json.h"

extern "C" const char anser_blob_openapi_components[];
extern "C" const char anser_blob_openapi_components_end[];

namespace anser {

using openai::Json;

namespace {

// What a broken request gets at every address, whoever may not ask, and what goes wrong here.
constexpr int kAnywhere[] = {400, 403, 408, 413, 431, 500, 503};
constexpr int kWithoutKey = 401;
constexpr int kOfBodies[] = {415};

constexpr char kDescription[] =
    "OpenAI's API over an RWKV-7 model, and stored states. Fields that are null are as if they "
    "were "
    "not there, and those that the server does not know are ignored unless it says otherwise.";

// "/v1/models/{id...}" is "/v1/models/{id}" to OpenAPI, which knows no rest of a path.
std::string openapi_path(std::string path) {
  if (const size_t dots = path.find("...}"); dots != path.npos) path.erase(dots, 3);
  return path;
}

class Document {
 public:
  explicit Document(bool with_keys)
      : with_keys_(with_keys),
        components_(read_json<Json>(std::string_view(
            anser_blob_openapi_components,
            size_t(anser_blob_openapi_components_end - anser_blob_openapi_components)))) {}

  void add(const Route& route) {
    const Operation& is = route.operation;
    const std::string_view id = is.id;
    if (id.empty() || !ids_.insert(is.id).second || std::string_view(is.summary).empty() ||
        is.answers.empty()) {
      throw Error(
          fmt::format("{} {} is not described: it needs an operationId of its own, a "
                      "summary and an answer",
                      route.method, route.path));
    }
    Json operation = {{"operationId", is.id}, {"tags", {is.tag}}, {"summary", is.summary}};
    for (const char* name : is.parameters) {
      operation["parameters"].push_back(reference("parameters", name));
    }
    if (!is.body.empty()) {
      operation["requestBody"] = {{"required", !is.body_may_be_missing}, {"content", of(is.body)}};
    }
    operation["responses"] = responses(route);
    if (with_keys_ && route.needs_key) {
      operation["security"] = {{{"bearer", Json::array()}}, {{"apiKey", Json::array()}}};
    }
    std::string method = route.method;
    std::transform(method.begin(), method.end(), method.begin(),
                   [](char c) { return char(c - 'A' + 'a'); });
    paths_[openapi_path(route.path)][method] = std::move(operation);
  }

  Json whole() && {
    if (!with_keys_) components_.erase("securitySchemes");
    return {{"openapi", "3.1.0"},
            {"info", {{"title", "anser"}, {"version", version()}, {"description", kDescription}}},
            {"paths", std::move(paths_)},
            {"components", std::move(components_)}};
  }

 private:
  Json reference(const char* kind, const std::string& name) const {
    if (!components_.at(kind).contains(name)) {
      throw Error(fmt::format("openapi_components.json has no {} \"{}\"", kind, name));
    }
    return {{"$ref", fmt::format("#/components/{}/{}", kind, name)}};
  }

  Json of(const std::vector<Content>& contents) const {
    Json all = Json::object();
    for (const Content& content : contents) {
      all[content.type] = {{"schema", reference("schemas", content.schema)}};
    }
    return all;
  }

  Json responses(const Route& route) const {
    const Operation& is = route.operation;
    std::set<int> errors(is.errors.begin(), is.errors.end());
    errors.insert(std::begin(kAnywhere), std::end(kAnywhere));
    if (with_keys_ && route.needs_key) errors.insert(kWithoutKey);
    if (!is.body.empty()) errors.insert(std::begin(kOfBodies), std::end(kOfBodies));
    Json all = {{"200", {{"description", is.summary}, {"content", of(is.answers)}}}};
    for (const int status : errors) {
      all[std::to_string(status)] = reference("responses", std::to_string(status));
    }
    return all;
  }

  const bool with_keys_;
  Json components_, paths_ = Json::object();
  std::set<std::string> ids_;
};

}  // namespace

Json openapi_document(const std::vector<Route>& routes, bool with_keys) {
  Document document(with_keys);
  for (const Route& route : routes) document.add(route);
  return std::move(document).whole();
}

}  // namespace anser
