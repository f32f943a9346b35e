// --lora PATH[:SCALE]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "cli/options.h"

namespace anser {
namespace {

bool is_there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// A path may hold a colon itself. What exists as it was given is the path; otherwise a number
// behind the last colon is the scale.
Adapter parse_adapter(const std::string& given) {
  if (given.empty()) throw CLI::ValidationError("--lora: the path of an adapter is empty");
  const size_t colon = given.rfind(':');
  if (is_there(given) || colon == std::string::npos || colon == 0) return {given};
  const char *begin = given.data() + colon + 1, *end = given.data() + given.size();
  double scale = 0;
  const auto [stop, error] = std::from_chars(begin, end, scale);
  const std::string path = given.substr(0, colon);
  if (error == std::errc() && stop == end && std::isfinite(scale)) return {path, scale};
  if (is_there(path)) {
    throw CLI::ValidationError(fmt::format(
        "--lora {}: there is no such file, and '{}' behind {} is no number to scale it by", given,
        std::string(begin, end), path));
  }
  return {given};
}

}  // namespace

void AdapterOptions::add_to(CLI::App& command) {
  command
      .add_option("--lora", adapters,
                  "merge an adapter (LoRA, PiSSA, MiSS) into the model, its change times SCALE; "
                  "repeatable")
      ->type_name("PATH[:SCALE]")
      ->allow_extra_args(false);
  command.add_option("--lora-alpha", alpha,
                     "alpha of adapters whose files do not say it, such as those of RWKV-PEFT");
  command.add_option(
      "--lora-init", init,
      "the file that a PiSSA training started from; without it init_pissa.pth beside the adapter");
}

std::vector<Adapter> AdapterOptions::resolve() const {
  std::vector<Adapter> list;
  for (const std::string& given : adapters) {
    Adapter adapter = parse_adapter(given);
    adapter.alpha = alpha;
    adapter.init = init;
    list.push_back(std::move(adapter));
  }
  if (list.empty() && (alpha || !init.empty())) {
    throw CLI::ValidationError(
        "--lora-alpha and --lora-init belong to a --lora, and none is given");
  }
  if (list.size() > 1 && !init.empty()) {
    throw CLI::ValidationError(
        "--lora-init belongs to one --lora; of several, keep each beside its init_pissa.pth");
  }
  return list;
}

std::vector<std::string> AdapterOptions::inputs() const {
  std::vector<std::string> paths = {init};
  for (const Adapter& adapter : resolve()) paths.push_back(adapter.path);
  return paths;
}

void AdapterOptions::need_model(const std::string& model) const {
  if (model.empty() && !resolve().empty()) {
    throw CLI::ValidationError("--lora: give the model that it belongs to with -m");
  }
}

}  // namespace anser
