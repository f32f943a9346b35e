// What a model's files say of how its conversations are written.
#pragma once

#include <string>
#include <vector>

namespace anser {

struct ChatClues {
  // A Jinja template, or a word that names one; empty: there is none. It is never run: the marks of
  // the roles in it tell the form.
  std::string template_text;
  std::string template_source;  // where that stands, for people
  // What the model is called: by its metadata, then by its file or folder.
  std::vector<std::string> names;
};

}  // namespace anser
