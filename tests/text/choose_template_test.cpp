// Which form a model has, by its template's marks and its names.
#include "text/chat/choose_template.h"

#include <gtest/gtest.h>

#include "text/chat/builtin_templates.h"
#include "text/chat/jinja_template.h"

namespace anser {
namespace {

std::string chosen(const std::string& text, std::vector<std::string> names = {}) {
  return choose_template({text, "m.gguf: tokenizer.chat_template", std::move(names)}).form.name;
}

TEST(ChooseTemplate, ByTheMarksOfATemplate) {
  EXPECT_EQ(chosen("{{ 'User\u273f' + m.content + '\u273f\\n' }}"), "flower");
  EXPECT_EQ(chosen("{{ 'User\\u273f' }} ### User Assistant:"), "flower");
  EXPECT_EQ(chosen("{{ '### User\\n' }}{{ '### Assistant\\n' }}"), "markdown");
  EXPECT_EQ(chosen("{{ 'User: ' + x }}"), "chat");
  EXPECT_EQ(chosen("x {{ 'Assistant:' }}"), "chat");
  EXPECT_EQ(chosen("rwkv-world"), "chat");
  EXPECT_EQ(chosen("\xEF\xBB\xBF rwkv-world\r\n"), "chat");
  // What other programs are given says the same to us.
  for (const std::string& name : {std::string("chat"), std::string("flower")}) {
    EXPECT_EQ(chosen(jinja_template(builtin_template(name))), name);
  }
}

TEST(ChooseTemplate, ByName) {
  for (const char* name :
       {"rwkv7-g1k-2.9b-20260930-ctx25600.pth", "RWKV7-G1h-1.5B", "rwkv7-g1l-7.2b", "g1i",
        "RWKV-7 G1J", "x_g1z.gguf", "rwkv7-g1k2-0.1b"}) {
    EXPECT_EQ(chosen("", {name}), "flower") << name;
  }
  for (const char* name : {"rwkv7-g1d-0.4b.pth", "rwkv7-g1-2.9b", "RWKV7-G1a4-0.1B", "rwkv7-g1g",
                           "rwkv7a-g1d-0.1b", "big1k", "rwkv7-g1kx", "g1", "", "world"}) {
    EXPECT_EQ(chosen("", {name}), "chat") << name;
  }
  // The first that tells; what a template says comes before.
  EXPECT_EQ(chosen("", {"my model", "rwkv7-g1k", "g1a"}), "flower");
  EXPECT_EQ(chosen("", {"rwkv7-g1a", "rwkv7-g1k"}), "chat");
  // The word stands in every file that llama.cpp has converted.
  EXPECT_EQ(chosen("rwkv-world", {"rwkv7-g1k"}), "flower");
  EXPECT_EQ(chosen("rwkv-world", {"rwkv7-g1d"}), "chat");
  EXPECT_EQ(chosen(" \n", {"rwkv7-g1k"}), "flower");
}

TEST(ChooseTemplate, WhoFillsGaps) {
  const auto fills = [](const char* name, const char* form = "chat") {
    return fills_gaps({"", "", {name}}, builtin_template(form));
  };
  for (const char* name : {"rwkv7-g1c-0.1b", "RWKV7-G1d-0.4B.gguf", "g1k"}) {
    EXPECT_TRUE(fills(name)) << name;
  }
  for (const char* name : {"rwkv7-g1b-0.1b", "rwkv7-g1a4-0.1b", "rwkv7-g1-2.9b", "world", ""}) {
    EXPECT_FALSE(fills(name)) << name;
  }
  EXPECT_TRUE(fills("mine", "flower"));
  EXPECT_TRUE(fills("mine", "markdown-think"));
}

TEST(ChooseTemplate, OneThatIsNotKnownIsNamed) {
  const ChosenTemplate chosen = choose_template(
      {"{{ '<|im_start|>' + m.role }}", "m/chat_template.jinja", {"rwkv7-g1k\x1b[31m"}});
  EXPECT_EQ(chosen.form.name, "flower");
  EXPECT_TRUE(chosen.note.starts_with("m/chat_template.jinja: ")) << chosen.note;
  EXPECT_NE(chosen.note.find("used instead: flower"), std::string::npos) << chosen.note;
  EXPECT_NE(chosen.note.find("--template"), std::string::npos) << chosen.note;
  EXPECT_EQ(chosen.note.find('\x1b'), std::string::npos) << "a name cannot steer a terminal";
  EXPECT_EQ(chosen.note.find('\n'), std::string::npos);
  EXPECT_EQ(choose_template({"<|user|>", "x", {}}).form.name, "chat");
  for (const char* known : {"", "rwkv-world", "User: \u273f"}) {
    EXPECT_EQ(choose_template({known, "x", {}}).note, "");
  }
}

}  // namespace
}  // namespace anser
