// Chat forms in files: anything but an Error is a bug; one that loads comes back from its own JSON,
// and no words hold what they may not.
#include <cstddef>
#include <cstdint>
#include <string>

#include "anser/error.h"
#include "base/check.h"
#include "cost.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/template_file.h"

namespace {

using namespace anser;

void check_words(const ChatTemplate& form, const std::string& text) {
  const std::string words = clean_words(form, text);
  for (const auto& [mark, instead] : form.replace) {
    ANSER_CHECK(words.find(mark) == std::string::npos);
    ANSER_CHECK(mark == "\n" || !("\n" + words).starts_with(mark));
  }
}

void read_form(const std::string& text) {
  try {
    const ChatTemplate form = parse_template(text, "fuzz");
    ANSER_CHECK(parse_template(template_json(form), "again") == form);
    std::string marks;
    for (const auto& [mark, instead] : form.replace) marks += mark + instead + mark;
    for (const std::string& said : {text, marks, marks + marks, "a" + marks + "\n" + marks}) {
      check_words(form, said);
      drop_thoughts(form, said);
    }
    const std::string first = render_first_turn(form, text, text, form.usual);
    ANSER_CHECK(first.starts_with(form.prefix));
    ANSER_CHECK(render_later_turn(form, text, Thinking::open).starts_with(form.separator));
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  // A form's marks are looked for one after the other.
  fuzz::bound_cost(
      "a form", size, [&] { read_form(text); }, 50);
  if (fuzz::grows(data, size)) {
    const ChatTemplate& form = builtin_template("flower");
    const std::string many = fuzz::repeated(text);
    fuzz::bound_cost("words", many.size(), [&] { check_words(form, many); });
    fuzz::bound_cost("thoughts", many.size(), [&] { drop_thoughts(form, many); });
    fuzz::bound_cost("a form of many parts", many.size(), [&] { read_form(many); });
  }
  return 0;
}
