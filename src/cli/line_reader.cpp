#include "cli/line_reader.h"

#include <fmt/format.h>
#include <histedit.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "anser/error.h"
#include "cli/console.h"
#include "cli/signals.h"
#include "text/plain_text.h"

namespace anser {

struct LineReader::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  std::string prompt;
  bool cancelled = false;

  static Editor& of(EditLine* line) {
    void* editor = nullptr;
    el_get(line, EL_CLIENTDATA, &editor);
    return *static_cast<Editor*>(editor);
  }
};

// As std::getline does, but a line without an end does not fill the memory.
bool LineReader::read_line(std::string& line) {
  for (;;) {
    const size_t end = std::min(piece_.find('\n', at_), piece_.size());
    line.append(piece_, at_, end - at_);
    if (line.size() > kMostPromptBytes) {
      throw Error(fmt::format("standard input: expected lines of at most {} MiB, found more",
                              kMostPromptBytes >> 20));
    }
    at_ = end + 1;
    if (end < piece_.size()) return true;
    piece_.resize(1 << 16);
    piece_.resize(read_some_stdin(piece_.data(), piece_.size()));
    at_ = 0;
    if (piece_.empty()) return !line.empty();
  }
}

LineReader::LineReader() {
  if (!stdin_is_terminal()) return;
  remember_terminal();  // the editor changes it while a line is read
  // libedit works in characters of the locale; ours are UTF-8 whatever the environment says.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  editor_ = new Editor;
  editor_->line = el_init("anser", stdin, stderr, stderr);
  editor_->history = history_init();
  HistEvent event;
  history(editor_->history, &event, H_SETSIZE, 1000);
  EditLine* line = editor_->line;
  el_set(line, EL_CLIENTDATA, editor_);
  el_set(line, EL_EDITOR, "emacs");
  el_set(line, EL_HIST, history, editor_->history);
  el_set(
      line, EL_PROMPT, +[](EditLine* el) { return Editor::of(el).prompt.data(); });
  // While a line is edited Ctrl-C is a key that drops it. As a signal it would leave the terminal
  // in the editor's mode.
  el_set(line, EL_SETTY, "-d", "-isig", nullptr);
  // The wide call: el_set would make copies of the two texts, and never frees them.
  el_wset(
      line, EL_ADDFN, L"anser-cancel", L"drop the line", +[](EditLine* el, wint_t) {
        Editor::of(el).cancelled = true;
        return static_cast<unsigned char>(CC_NEWLINE);
      });
  el_set(line, EL_BIND, "^C", "anser-cancel", nullptr);
}

LineReader::~LineReader() {
  if (editor_ == nullptr) return;
  el_end(editor_->line);
  history_end(editor_->history);
  delete editor_;
}

std::optional<std::string> LineReader::read(const std::string& prompt) {
  if (editor_ == nullptr) {
    std::string line;
    if (!read_line(line)) return std::nullopt;
    // A script may come from an editor of Windows.
    if (std::exchange(at_start_, false)) line = plain_text(line, "standard input");
    if (line.ends_with('\r')) line.pop_back();
    return line;
  }
  editor_->prompt = prompt;
  const char* text = nullptr;
  int count = 0;
  do {
    if (editor_->cancelled) say("");
    editor_->cancelled = false;
    text = el_gets(editor_->line, &count);
  } while (editor_->cancelled);
  if (text == nullptr || count <= 0) return std::nullopt;
  std::string line(text, size_t(count));
  HistEvent event;
  if (line.find_first_not_of(" \n") != std::string::npos) {
    history(editor_->history, &event, H_ENTER, line.c_str());
  }
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace anser
