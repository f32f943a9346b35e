// What a model's files say of its chat form, and that it is kept when they are converted.
#include "checkpoint/chat_clues.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model/save_gguf.h"
#include "model/save_safetensors.h"
#include "support/temp_dir.h"
#include "support/writers.h"
#include "text/chat/choose_template.h"

namespace anser {
namespace {

using namespace support;

constexpr char kFlower[] = "{{ 'User\xE2\x9C\xBF' + text }}", kOther[] = "{{ '<|im_start|>' }}";

class ChatCluesTest : public testing::Test {
 protected:
  ChosenTemplate chosen(const std::string& path) {
    return choose_template(Model::open(path).chat_clues());
  }
  std::string form(const std::string& path) { return chosen(path).form.name; }
  std::string gguf(const std::string& name, decltype(GgufOptions::metadata) metadata) {
    GgufOptions options;
    options.byte_vocabulary = true;
    options.metadata = std::move(metadata);
    write_gguf(dir_ / name, model_, options);
    return dir_ / name;
  }
  // A folder with its own text files.
  std::string folder(const std::string& name,
                     const std::map<std::string, std::string>& files = {}) {
    std::filesystem::create_directory(dir_ / name);
    write_hf_folder(dir_ / name, random_model({.vocab = 256}));
    for (const auto& [file, text] : files) {
      std::ofstream(dir_ / (name + "/" + file), std::ios::binary) << text;
    }
    return dir_ / name;
  }
  // The form of the same model in both formats that are written, under names that say nothing.
  std::string form_when_converted(const std::string& path) {
    const Model model = Model::open(path);
    SaveOptions options;
    options.type = DType::f16;
    save_gguf(model, dir_ / "out.gguf", options);
    save_safetensors(model, dir_ / "out.safetensors", options);
    // And back.
    save_gguf(Model::open(dir_ / "out.safetensors"), dir_ / "back.gguf", options);
    EXPECT_EQ(form(dir_ / "out.safetensors"), form(dir_ / "out.gguf"));
    EXPECT_EQ(form(dir_ / "back.gguf"), form(dir_ / "out.gguf"));
    return form(dir_ / "out.gguf");
  }

  TempDir dir_;
  RandomModel model_ = random_model({.vocab = 300});
};

TEST_F(ChatCluesTest, OfGguf) {
  const std::string path = gguf("a.gguf", {{"tokenizer.chat_template", kFlower}});
  EXPECT_EQ(form(path), "flower");
  EXPECT_EQ(chosen(path).why, path + ": tokenizer.chat_template has \xE2\x9C\xBF");
  EXPECT_EQ(form(gguf("b.gguf", {{"tokenizer.chat_template", "rwkv-world"}})), "chat");
  EXPECT_EQ(form(gguf("c.gguf", {{"general.name", "rwkv7-g1k-0.1b"}})), "flower");
  EXPECT_EQ(form(gguf("d.gguf", {{"general.basename", "RWKV7-G1h"}})), "flower");
  EXPECT_EQ(form(gguf("e.gguf", {{"general.finetune", "g1l"}})), "flower");
  EXPECT_EQ(form(gguf("f.gguf", {{"general.name", "rwkv7-g1d-0.1b"}})), "chat");
  EXPECT_EQ(form(gguf("rwkv7-g1k.gguf", {})), "flower");
  EXPECT_EQ(form(gguf("g.gguf", {{"tokenizer.chat_template", 3}})), "chat");
  EXPECT_EQ(form(gguf("g.gguf", {})), "chat");
}

TEST_F(ChatCluesTest, OfFilesAndFolders) {
  write_pth(dir_ / "rwkv7-g1k-0.1b-20260930-ctx25600.pth", random_model({.vocab = 256}));
  EXPECT_EQ(form(dir_ / "rwkv7-g1k-0.1b-20260930-ctx25600.pth"), "flower");
  EXPECT_EQ(form(folder("plain")), "chat");
  EXPECT_EQ(form(folder("RWKV7-G1k-2.9B-20260930")), "flower");
  EXPECT_EQ(form(dir_ / "RWKV7-G1k-2.9B-20260930/"), "flower");
  EXPECT_EQ(form(dir_ / "RWKV7-G1k-2.9B-20260930/model.safetensors"), "flower");
  EXPECT_EQ(form(folder("a", {{"chat_template.jinja", kFlower}})), "flower");
  EXPECT_EQ(form(dir_ / "a/model.safetensors"), "flower");
  EXPECT_EQ(
      form(folder("b", {{"tokenizer_config.json", R"({"chat_template": "{{ 'User\u273f' }}"})"}})),
      "flower");
  EXPECT_EQ(form(folder("c", {{"tokenizer_config.json",
                               R"({"chat_template": [{"name": "tool_use", "template": "### User"},
                                   {"name": "default", "template": "User\u273f"}]})"}})),
            "flower");
  // The file of its own comes first.
  EXPECT_EQ(form(folder("d", {{"chat_template.jinja", "User: Assistant:"},
                              {"tokenizer_config.json", R"({"chat_template": "\u273f"})"}})),
            "chat");
  EXPECT_EQ(form(folder("e", {{"chat_template.jinja", "{{ '### User\\n' }}"}})), "markdown");
}

TEST_F(ChatCluesTest, WhatIsNotUnderstoodIsNamed) {
  const ChosenTemplate other = chosen(folder("rwkv7-g1k", {{"chat_template.jinja", kOther}}));
  EXPECT_EQ(other.form.name, "flower");
  EXPECT_TRUE(other.note.starts_with(dir_ / "rwkv7-g1k/chat_template.jinja: ")) << other.note;
  // Files that are damaged or huge say nothing, and do no harm.
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string(R"({"chat_template": 3})"),
        std::string(R"({"chat_template": [3, {"template": 4}, {"name": "x"}]})"),
        std::string(R"({"chat_template": {"a": "b"}})"), "{\"a\": " + std::string(100'000, '['),
        std::string(5'000'000, ' ')}) {
    const ChosenTemplate none = chosen(folder("broken", {{"tokenizer_config.json", text}}));
    EXPECT_EQ(none.form.name, "chat");
    EXPECT_EQ(none.note, "");
  }
}

TEST_F(ChatCluesTest, ConvertingKeepsWhatDecides) {
  EXPECT_EQ(form_when_converted(gguf("a.gguf", {{"tokenizer.chat_template", kFlower}})), "flower");
  EXPECT_EQ(form_when_converted(gguf("b.gguf", {{"tokenizer.chat_template", "rwkv-world"},
                                                {"general.name", "rwkv7-g1k"}})),
            "flower");
  EXPECT_EQ(form_when_converted(gguf("c.gguf", {{"general.finetune", "g1k"}})), "flower");
  EXPECT_EQ(form_when_converted(gguf("rwkv7-g1k.gguf", {})), "flower");
  EXPECT_EQ(form_when_converted(gguf("d.gguf", {})), "chat");
  // Not understood, then as now: the name decides, and it is named.
  EXPECT_EQ(form_when_converted(gguf(
                "e.gguf", {{"tokenizer.chat_template", kOther}, {"general.name", "rwkv7-g1k"}})),
            "flower");
  EXPECT_NE(chosen(dir_ / "out.safetensors").note, "");
  EXPECT_EQ(Model::open(dir_ / "out.safetensors").chat_clues().template_text, kOther);
}

}  // namespace
}  // namespace anser
