#include "checkpoint/chat_clues.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>
#include <variant>

#include "anser/error.h"
#include "base/mapped_file.h"
#include "base/read_json.h"
#include "formats/json.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/choose_template.h"
#include "text/chat/jinja_template.h"

namespace anser {
namespace {

namespace fs = std::filesystem;

// A template has a few kB, a tokenizer_config.json with all added tokens a few hundred.
constexpr size_t kMaxBytes = 4'000'000;

std::string text_of(const TensorFile& file, const char* key) {
  const auto at = file.metadata.find(key);
  const auto* text = at == file.metadata.end() ? nullptr : std::get_if<std::string>(&at->second);
  return text == nullptr ? "" : *text;
}

std::optional<std::string> read_text(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  try {
    const auto file = MappedFile::open(path.string());
    const std::span<const std::byte> bytes = file->bytes();
    if (bytes.size() > kMaxBytes) return std::nullopt;
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Its "chat_template": a text, or a list of templates with names, of which "default" is for chats.
std::string template_in(const std::string& tokenizer_config) {
  const auto config = find_json<nlohmann::json>(tokenizer_config);
  if (!config || !config->is_object()) return "";
  const auto at = config->find("chat_template");
  if (at == config->end()) return "";
  if (at->is_string()) return at->get<std::string>();
  std::string found;
  for (const auto& named : *at) {
    if (!named.is_object() || !named.contains("template") || !named["template"].is_string()) {
      continue;
    }
    const bool usual = named.value("name", nlohmann::json()) == "default";
    if (found.empty() || usual) found = named["template"].get<std::string>();
  }
  return found;
}

// The folder of a model that has a folder to itself.
std::optional<fs::path> own_folder(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return path;
  const std::string name = path.filename().string();
  if (name.starts_with("model") || name.starts_with("pytorch_model")) return path.parent_path();
  return std::nullopt;
}

void read_folder(const fs::path& folder, ChatClues& clues) {
  const auto take = [&](const char* file, const auto& template_of) {
    if (!clues.template_text.empty()) return;
    const fs::path path = folder / file;
    if (const std::optional<std::string> text = read_text(path)) {
      clues.template_text = template_of(*text);
      clues.template_source = path.string();
    }
  };
  take("chat_template.jinja", [](const std::string& text) { return text; });
  take("tokenizer_config.json", template_in);
}

}  // namespace

ChatClues read_chat_clues(const TensorFile& file) {
  ChatClues clues;
  clues.template_text = text_of(file, kChatTemplateKey);
  clues.template_source = file.path + ": " + kChatTemplateKey;
  const auto add_name = [&](std::string name) {
    if (!name.empty()) clues.names.push_back(std::move(name));
  };
  for (const char* key : {kNameKey, "general.basename", "general.finetune", "_name_or_path"}) {
    add_name(text_of(file, key));
  }
  if (file.format == FileFormat::memory) return clues;
  std::error_code ignored;
  fs::path path = fs::absolute(file.path, ignored).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (!fs::exists(path, ignored)) return clues;  // embedded
  add_name((fs::is_directory(path, ignored) ? path.filename() : path.stem()).string());
  if (const std::optional<fs::path> folder = own_folder(path)) {
    if (*folder != path) add_name(folder->filename().string());
    read_folder(*folder, clues);
  }
  return clues;
}

std::string chat_template_to_write(const Model& model) {
  const ChatClues& clues = model.chat_clues();
  if (!clues.template_text.empty()) return clues.template_text;
  const ChatTemplate form = choose_template(clues).form;
  return form == builtin_template("chat") ? "" : jinja_template(form);
}

}  // namespace anser
