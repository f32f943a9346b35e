// anser chat, driven by scripts on stdin: answers on stdout, one a line with this model.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Arguments = std::vector<std::string>;

// No line breaks, no control characters, ASCII only; greedy, so that a state decides its answer.
Arguments arguments(const std::string& command, const Arguments& more = {}) {
  std::string banned;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte <= 32 || byte >= 127) banned += std::to_string(byte) + ",";
  }
  banned.pop_back();
  Arguments all = {command,  "-m", byte_model(), "--ban",     banned, "--preset",
                   "greedy", "-n", "12",         "--threads", "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<std::string> chat(const std::string& script, const Arguments& more = {}) {
  const Result result = run_anser(arguments("chat", more), script);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < result.out.size();) {
    const size_t end = result.out.find('\n', begin);
    lines.push_back(result.out.substr(begin, end - begin));
    begin = end == std::string::npos ? result.out.size() : end + 1;
  }
  return lines;
}

TEST(Chat, AnAnswerPerLine) {
  const std::vector<std::string> lines = chat("hello\n\nand you?\n");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].size(), 12u);
  EXPECT_EQ(lines[1].size(), 12u);
  EXPECT_NE(lines[0], lines[1]);
}

TEST(Chat, UndoGoesBackOneTurn) {
  const auto lines = chat("hello\nand you?\n/undo\nand you?\n/undo\n/undo\nhello\n");
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2], lines[1]);
  EXPECT_EQ(lines[3], lines[0]);
}

TEST(Chat, ResetBeginsAnewAndCanBeUndone) {
  const auto lines = chat("hello\n/reset\nhello\n/undo\n/undo\nand you?\n");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1], lines[0]);
  EXPECT_EQ(lines[2], chat("hello\nand you?\n")[1]);
}

TEST(Chat, BranchesAreIndependent) {
  const auto lines =
      chat("hello\n/fork other\nsomething else\n/switch main\nand you?\n/switch other\nmore\n");
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2], chat("hello\nand you?\n")[1]);
  EXPECT_EQ(lines[3], chat("hello\nsomething else\nmore\n")[2]);
}

TEST(Chat, SaveAndLoad) {
  const TempDir folder;
  const std::string state = folder / "state";
  const auto whole = chat("hello\nand you?\n");
  chat("hello\n/save " + state + "\nsomething else\n");
  EXPECT_EQ(chat("/load " + state + "\nand you?\n").at(0), whole[1]);
  EXPECT_EQ(chat("and you?\n", {"--load-state", state}).at(0), whole[1]);
  // The same turn by `run`, which begins where the state is.
  const Result run =
      run_anser(arguments("run", {"--template", "chat", "-p", "and you?", "--load-state", state}));
  EXPECT_EQ(run.out, whole[1]) << run.err;
}

TEST(Chat, AScriptMayComeFromAnEditorOfWindows) {
  EXPECT_EQ(chat("\xef\xbb\xbfhello\r\n\r\nand you?\r\n"), chat("hello\nand you?\n"));
}

// Answers that end in line ends or within a character: the next turn joins on as if nothing had
// been saved.
TEST(Chat, ASavedStateKnowsHowItsTextEnds) {
  const TempDir folder;
  for (const std::string& bytes : {std::string("\n"), std::string("\xe4\xbd\xa0\n")}) {
    std::string banned;
    for (int byte = 0; byte < 256; ++byte) {
      if (bytes.find(char(byte)) == std::string::npos) banned += std::to_string(byte) + ",";
    }
    banned.pop_back();
    for (const std::string length : {"1", "2", "3", "4"}) {
      const auto save = [&](const std::string& script, const std::string& name) {
        const Result result = run_anser({"chat", "-m", byte_model(), "--ban", banned, "--preset",
                                         "greedy", "-n", length, "--threads", "1"},
                                        script + "/save " + (folder / name) + "\n");
        EXPECT_EQ(result.exit_code, 0) << result.err;
        return read_file(folder / name);
      };
      const std::string whole = save("hello\nand you?\n", "whole");
      save("hello\n", "half");
      EXPECT_TRUE(save("/load " + (folder / "half") + "\nand you?\n", "rest") == whole) << length;
    }
  }
}

TEST(Chat, TheStateIsThatOfTheWholeText) {
  const TempDir folder;
  chat("hello\nand you?\n/save " + (folder / "chat") + "\n", {"--system", "be kind"});
  const auto lines = chat("hello\nand you?\n", {"--system", "be kind"});
  const std::string text = "System: be kind\n\nUser: hello\n\nAssistant:" + lines.at(0) +
                           "\n\nUser: and you?\n\nAssistant:" + lines.at(1);
  run_anser({"run", "-m", byte_model(), "-p", text, "-n", "0", "--save-state", folder / "text"});
  EXPECT_TRUE(read_file(folder / "chat") == read_file(folder / "text"));
}

TEST(Chat, ThoughtsAreForgotten) {
  const TempDir folder;
  // A model that can write nothing but '>': that ends the tag which the prompt began, and the
  // thought goes on to the end.
  std::string banned;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte != '>') banned += std::to_string(byte) + ",";
  }
  banned.pop_back();
  const Result result =
      run_anser({"chat", "-m", byte_model(), "-n", "5", "--ban", banned, "--template", "think"},
                "hello\n/save " + (folder / "chat") + "\n");
  EXPECT_EQ(result.out, ">>>>>\n") << result.err;
  run_anser({"run", "-m", byte_model(), "-p", "User: hello\n\nAssistant:", "-n", "0",
             "--save-state", folder / "text"});
  EXPECT_TRUE(read_file(folder / "chat") == read_file(folder / "text"));
}

TEST(Chat, ASystemTextComesAtTheBeginning) {
  const TempDir folder;
  chat("hello\n/save " + (folder / "state") + "\n");
  const Result result = run_anser(
      arguments("chat", {"--system", "be kind", "--load-state", folder / "state"}), "hello\n");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("--system"), std::string::npos) << result.err;
}

// The second answer of one seed is not the first of the next one.
TEST(Chat, SeedsOfTurnsAreTheirOwn) {
  const auto talk = [](const std::string& script, const std::string& seed) {
    return chat(script, {"--temperature", "3", "--top-p", "1", "--seed", seed});
  };
  const auto five = talk("hello\n/reset\nhello\n", "5");
  EXPECT_EQ(five.at(0), talk("hello\n", "5").at(0));
  EXPECT_NE(five.at(1), five.at(0));
  EXPECT_NE(five.at(1), talk("hello\n", "6").at(0));
}

TEST(Chat, QuitEnds) {
  EXPECT_EQ(chat("hello\n/quit\nand you?\n").size(), 1u);
}

TEST(Chat, AScriptWithAMistakeFails) {
  for (const std::string command :
       {"/nonsense", "/load /nonexistent/state", "/save", "/switch nowhere", "/fork main",
        "/undo 2", "/reset now", "/quit now"}) {
    const Result result = run_anser(arguments("chat"), command + "\nhello\n");
    EXPECT_EQ(result.exit_code, 1) << command;
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
  }
}

}  // namespace
}  // namespace support
