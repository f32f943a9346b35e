#include "cli/template_options.h"

#include <CLI/CLI.hpp>

#include "cli/console.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/choose_template.h"
#include "text/chat/template_file.h"

namespace anser {

void TemplateFlags::add_to(CLI::App& command, const std::vector<std::string>& others,
                           const std::string& help) {
  std::vector<std::string> names = {"auto"};
  names.insert(names.end(), others.begin(), others.end());
  for (std::string& built_in : builtin_template_names()) names.push_back(std::move(built_in));
  CLI::Option* by_name =
      command
          .add_option(
              "--template", name,
              "the form of a conversation; auto: the one that the model's files tell. " + help)
          ->check(CLI::IsMember(names));
  command
      .add_option("--template-file", file,
                  "a form of your own, in JSON (docs/templates.md describes it)")
      ->excludes(by_name)
      ->check(CLI::ExistingFile);
}

std::optional<ChatTemplate> TemplateFlags::given() const {
  if (!file.empty()) return read_template_file(file);
  if (const ChatTemplate* built_in = find_builtin_template(name)) return *built_in;
  return std::nullopt;
}

ChatTemplate form_of_model(const Model& model) {
  ChosenTemplate chosen = choose_template(model.chat_clues());
  if (!chosen.note.empty()) say("anser: {}", chosen.note);
  return std::move(chosen.form);
}

}  // namespace anser
