// --template and --template-file: which form a prompt is written in, by the states that it leaves.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Arguments = std::vector<std::string>;

#define FLOWER "\xE2\x9C\xBF"

constexpr char kMine[] = R"({"name": "mine", "prefix": {"token_0": true},
  "roles": {"system": "System✿{text}", "user": "User✿{text}", "assistant": "Bot✿{text}"},
  "separator": "✿\n", "generation": {"prompt": "Bot✿", "none": "<think></think", "usual": "none"},
  "thinking": {"start": "<think>", "end": "</think>"}, "stops": ["✿"],
  "words": {"replace": {"✿": "❀"}}})";

class TemplateTest : public testing::Test {
 protected:
  // A model of 300 tokens whose file says this.
  std::string model(decltype(GgufOptions::metadata) metadata) {
    return write_vocabulary_model(dir_, std::move(metadata));
  }
  std::string flower_model() { return model({{"tokenizer.chat_template", "User" FLOWER}}); }
  std::string mine() {
    std::ofstream(dir_ / "mine.json") << kMine;
    return dir_ / "mine.json";
  }
  // The state after a prompt, and what is said on stderr.
  std::string state(const std::string& model, Arguments more, std::string* err = nullptr) {
    Arguments all = {"run", "-m",           model,          "-n",     "0", "--threads",
                     "1",   "--save-state", dir_ / "state", "--seed", "1"};
    all.insert(all.end(), more.begin(), more.end());
    const Result result = run_anser(all);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (err != nullptr) *err = result.err;
    return read_file(dir_ / "state");
  }

  TempDir dir_;
};

const std::string kTold = "System" FLOWER "s" FLOWER "\nUser" FLOWER "hi" FLOWER "\nBot" FLOWER;

TEST_F(TemplateTest, FlowerBeginsWithTokenZero) {
  const std::string m = vocabulary_model();
  const std::string by_hand = state(m, {"-p", kTold + "<think></think"});
  EXPECT_EQ(state(m, {"--template", "flower", "--system", "s", "-p", "hi"}), by_hand);
  EXPECT_EQ(state(m, {"--template-file", mine(), "--system", "s", "-p", "hi"}), by_hand);
  EXPECT_EQ(state(m, {"--template", "flower-think", "--system", "s", "-p", "hi"}),
            state(m, {"-p", kTold + "<think"}));
  EXPECT_EQ(state(m, {"--template", "flower", "--no-bos", "--system", "s", "-p", "hi"}),
            state(m, {"--no-bos", "-p", kTold + "<think></think"}));
  EXPECT_EQ(state(m, {"--template", "chat", "-p", "hi"}),
            state(m, {"--no-bos", "-p", "User: hi\n\nAssistant:"}));
  EXPECT_EQ(
      state(m, {"--template", "fim", "-p", "a", "--suffix", "b"}),
      state(m, {"--no-bos", "-p",
                FLOWER "prefix" FLOWER FLOWER "suffix" FLOWER "b" FLOWER "middle" FLOWER "a"}));
}

// And is read again as the same form.
TEST_F(TemplateTest, ABuiltInFormIsPrinted) {
  const std::string any = model({});
  for (const std::string name :
       {"chat", "think", "fake-think", "flower", "flower-think", "markdown", "markdown-think"}) {
    const Result printed = run_anser({"info", "--template", name});
    ASSERT_EQ(printed.exit_code, 0) << printed.err;
    EXPECT_EQ(printed.err, "");
    std::ofstream(dir_ / "printed.json") << printed.out;
    const Arguments prompt = {"-p", "hi", "--system", "s"};
    Arguments by_name = prompt, by_file = prompt;
    by_name.insert(by_name.end(), {"--template", name});
    by_file.insert(by_file.end(), {"--template-file", dir_ / "printed.json"});
    EXPECT_EQ(state(any, by_file), state(any, by_name)) << name;
  }
  EXPECT_EQ(run_anser({"info", "--template", "nothing"}).exit_code, 2);
}

TEST_F(TemplateTest, WithoutAPromptAStateGoesOnInEveryForm) {
  const std::string m = vocabulary_model(), first = state(m, {"-p", "hi"});
  std::filesystem::copy_file(dir_ / "state", dir_ / "first");
  for (const char* form : {"raw", "chat", "flower", "fim"}) {
    EXPECT_EQ(state(m, {"--template", form, "--load-state", dir_ / "first", "-p", ""}), first)
        << form;
  }
  // Nothing before a gap is a prompt.
  EXPECT_NE(
      state(m, {"--template", "fim", "--load-state", dir_ / "first", "-p", "", "--suffix", "b"}),
      first);
}

TEST_F(TemplateTest, AutoIsWhatTheModelSays) {
  std::string err;
  const std::string by_hand = state(flower_model(), {"-p", kTold + "<think></think"});
  EXPECT_EQ(state(flower_model(), {"--template", "auto", "--system", "s", "-p", "hi"}, &err),
            by_hand);
  EXPECT_EQ(err.find("template"), std::string::npos) << err;
  const Result info = run_anser({"info", "-m", flower_model()});
  EXPECT_NE(info.out.find("template         flower: "), std::string::npos) << info.out;
  EXPECT_NE(
      run_anser({"info", "-m", vocabulary_model()}).out.find("template         chat: nothing"),
      std::string::npos);
  EXPECT_EQ(run_anser({"info", "-m", story_model()}).out.find("template"), std::string::npos);
}

TEST_F(TemplateTest, OneThatIsNotKnownIsNamedInALine) {
  const std::string m = model({{"tokenizer.chat_template", "{{ '<|user|>' }}\n"}});
  std::string err;
  const std::string chat = state(m, {"--template", "chat", "-p", "hi"}, &err);
  EXPECT_EQ(err.find("tokenizer.chat_template"), std::string::npos) << "nobody asked: " << err;
  EXPECT_EQ(state(m, {"--template", "auto", "-p", "hi"}, &err), chat);
  const size_t at = err.find("tokenizer.chat_template");
  ASSERT_NE(at, std::string::npos) << err;
  EXPECT_NE(err.substr(0, err.find('\n', at)).find("used instead: chat"), std::string::npos) << err;
  EXPECT_EQ(err.find("tokenizer.chat_template", at + 1), std::string::npos) << "once";
  const Result chatting =
      run_anser({"chat", "-m", m, "-n", "1", "--threads", "1", "--preset", "greedy"}, "hi\n");
  EXPECT_NE(chatting.err.find("used instead: chat"), std::string::npos) << chatting.err;
  state(m, {"-p", "hi"}, &err);
  EXPECT_EQ(err.find("tokenizer.chat_template"), std::string::npos) << err;
}

// Greedy, printable letters only, so that a state decides its answer.
Arguments talking(const std::string& command, const std::string& model, const Arguments& more,
                  const std::string& but = "") {
  std::string banned = "0";
  for (int byte = 0; byte < 256; ++byte) {
    const bool wanted = but.empty() ? byte > 32 && byte < 127 : but.find(char(byte)) != but.npos;
    if (!wanted) banned += "," + std::to_string(byte + 1);
  }
  for (int unused = 257; unused < 300; ++unused) banned += "," + std::to_string(unused);
  Arguments all = {command,  "-m", model, "--ban",     banned, "--preset",
                   "greedy", "-n", "12",  "--threads", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_F(TemplateTest, AConversationIsOneText) {
  const std::string m = flower_model();
  for (const Arguments& form :
       {Arguments{}, Arguments{"--template", "flower"}, Arguments{"--template-file", mine()}}) {
    Arguments saved = form;
    const Result first =
        run_anser(talking("chat", m, form),
                  "hi\n/save " + (dir_ / "one") + "\nmore\n/save " + (dir_ / "two") + "\n");
    EXPECT_EQ(first.exit_code, 0) << first.err;
    // The random model does not close the tag: its answer is a thought, which is not remembered.
    const std::string one = "User" FLOWER "hi" FLOWER "\nBot" FLOWER;
    EXPECT_EQ(read_file(dir_ / "one"), state(m, {"-p", one}));
    EXPECT_EQ(read_file(dir_ / "two"),
              state(m, {"-p", one + FLOWER "\nUser" FLOWER "more" FLOWER "\nBot" FLOWER}));
    // Going on from a saved state is never having stopped.
    const std::string second = first.out.substr(first.out.find('\n') + 1);
    saved.insert(saved.end(), {"--load-state", dir_ / "one"});
    EXPECT_EQ(run_anser(talking("chat", m, saved), "more\n").out, second);
  }
  Arguments run = {"--template", "flower", "--load-state", dir_ / "one", "-p", "more"};
  const Result again = run_anser(talking("run", m, run));
  EXPECT_EQ(again.out.size(), 12u) << again.err;
}

// The end of the tag that the prompt has begun is no part of the answer.
TEST_F(TemplateTest, TheEndOfATagIsNotShown) {
  const std::string m = flower_model();
  EXPECT_EQ(run_anser(talking("chat", m, {}, ">"), "hi\n").out, std::string(11, '>') + "\n");
  EXPECT_EQ(run_anser(talking("chat", m, {"--template", "flower-think"}, ">"), "hi\n").out,
            std::string(12, '>') + "\n");
  EXPECT_EQ(run_anser(talking("chat", m, {}, "a"), "hi\n").out, std::string(12, 'a') + "\n");
}

TEST_F(TemplateTest, WhatIsWrongShowsBeforeAModelIsLoaded) {
  const auto refused = [&](const Arguments& arguments, int code, const std::string& named) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(named), std::string::npos) << result.err;
  };
  std::ofstream(dir_ / "bad.json") << R"({"name": "x", "rolls": {}})";
  for (const char* command : {"run", "chat", "serve"}) {
    Arguments base = {command, "-m", "/nowhere"};
    if (std::string(command) == "run") base.insert(base.end(), {"-p", "x"});
    const auto with = [&](const Arguments& more) {
      Arguments all = base;
      all.insert(all.end(), more.begin(), more.end());
      return all;
    };
    refused(with({"--template", "llama"}), 2, "llama");
    refused(with({"--template-file", dir_ / "none.json"}), 2, "none.json");
    refused(with({"--template-file", dir_ / "bad.json"}), 1, "bad.json: the key roles is missing");
    refused(with({"--template-file", mine(), "--template", "chat"}), 2, "--template");
  }
  refused({"run", "-m", "/nowhere", "-p", "x", "--template-file", mine(), "--suffix", "s"}, 2,
          "--suffix");
  refused({"run", "-m", "/nowhere", "-p", "x", "--system", "s"}, 2, "--system");
  refused({"serve", "-m", story_model(), "--template", "flower", "--threads", "1"}, 2,
          "story model");
}

}  // namespace
}  // namespace support
