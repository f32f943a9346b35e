// --template and --template-file: in which form a conversation is written for the model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "anser/model.h"
#include "text/chat/chat_template.h"

namespace CLI {
class App;
class Option_group;
}  // namespace CLI

namespace anser {

struct TemplateFlags {
  std::string name;  // empty: not given
  std::string file;

  // `others`: names of the command's own, beside the built-in forms' and auto. `help` says what
  // they are, and what holds without the option.
  void add_to(CLI::App& command, const std::vector<std::string>& others, const std::string& help);

  // Of a file, read now; --template has a name of the command's own, or leaves it to the model:
  // none. To be called before a model is loaded, for its mistakes to show at once.
  std::optional<ChatTemplate> given() const;
};

// The form that suits the model; what was not understood of its files is said on stderr.
ChatTemplate form_of_model(const Model& model);

}  // namespace anser
