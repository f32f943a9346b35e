// Story models: what run and chat do with them, and with what a model's file says of sampling.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Arguments = std::vector<std::string>;

// Bans all tokens of a vocabulary_model but those of some bytes. The end of text is banned, too.
std::string all_but(const std::string& bytes) {
  std::string banned = "0";
  for (int id = 1; id < 300; ++id) {
    const bool allowed = id <= 256 && bytes.find(char(id - 1)) != std::string::npos;
    if (!allowed) banned += "," + std::to_string(id);
  }
  return banned;
}
const std::string kLetters = "abcdefghijklmnopqrstuvwxyz";

std::string end_of_text_only() {
  return all_but("").substr(2);  // without "0,"
}

// Greedy, so that a state decides what follows.
Arguments arguments(const std::string& command, const std::string& banned,
                    const Arguments& more = {}) {
  Arguments all = {command,    "-m",     story_model(), "--ban", banned,
                   "--preset", "greedy", "--threads",   "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Result chat(const std::string& script, const std::string& bytes, const Arguments& more = {}) {
  Result result = run_anser(arguments("chat", all_but(bytes), more), script);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result;
}

Arguments lines(const std::string& text) {
  Arguments all;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    all.push_back(text.substr(begin, end - begin));
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return all;
}

// Of a text that begins after an end-of-text token.
std::string state_after(const std::string& text) {
  const TempDir folder;
  const Result result = run_anser(
      {"run", "-m", story_model(), "-p", text, "-n", "0", "--save-state", folder / "state"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return read_file(folder / "state");
}

std::string run(const Arguments& more) {
  const Result result = run_anser(more);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.out;
}

TEST(StoryChat, SaysOnceWhatItIsAndWritesOnAfterEveryLine) {
  const Result result = chat("hello\n\nand you?\n", kLetters);
  const Arguments turns = lines(result.out);
  ASSERT_EQ(turns.size(), 2u) << result.out;
  EXPECT_EQ(turns[0].size(), 120u);
  EXPECT_EQ(turns[1].size(), 120u);
  const size_t said = result.err.find("story model: it cannot converse");
  ASSERT_NE(said, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("cannot converse", said + 20), std::string::npos) << result.err;
}

TEST(StoryChat, TheStateIsThatOfTheWholeText) {
  const TempDir folder;
  const Result result =
      chat("  hello \nand you?\n, well\n/save " + (folder / "state") + "\n", kLetters, {"-n", "9"});
  const Arguments turns = lines(result.out);
  ASSERT_EQ(turns.size(), 3u);
  EXPECT_EQ(turns[0].size(), 9u);
  EXPECT_TRUE(read_file(folder / "state") ==
              state_after("hello" + turns[0] + " and you?" + turns[1] + ", well" + turns[2]));
}

TEST(StoryChat, ATurnEndsWithASentenceIfItCan) {
  const TempDir folder;
  // The only thing that it can write; from two thirds of the length on that is enough.
  EXPECT_EQ(chat("hello\n", ".", {"-n", "12"}).out, "........\n");
  EXPECT_EQ(chat("\"hello\n", ".", {"-n", "12"}).out, "............\n");
  // A line that follows a line's end needs no space.
  EXPECT_EQ(chat("hello\nmore\n/save " + (folder / "state") + "\n", "\n", {"-n", "6"}).out, "");
  EXPECT_TRUE(read_file(folder / "state") == state_after("hello\n\n\n\nmore\n\n\n\n"));
}

TEST(StoryChat, UndoAndBranches) {
  const Arguments turns =
      lines(chat("hello\nand you?\n/undo\nand you?\n/fork other\nmore\n/switch main\nmore\n",
                 kLetters, {"-n", "9"})
                .out);
  ASSERT_EQ(turns.size(), 5u);
  EXPECT_EQ(turns[2], turns[1]);
  EXPECT_EQ(turns[4], turns[3]);
}

TEST(StoryChat, TheEndOfTextEndsTheStory) {
  const TempDir folder;
  const Result result = run_anser(
      arguments("chat", end_of_text_only()),
      "hello\n/save " + (folder / "ended") + "\n/undo\n/undo\n/save " + (folder / "new") + "\n");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("the story ends here"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("one turn back\nthere is nothing"), std::string::npos) << result.err;
  EXPECT_TRUE(read_file(folder / "ended") == read_file(folder / "new"));
}

TEST(StoryChat, AnExplicitTemplateDecides) {
  // The same weights, of which nothing says that they tell stories.
  const auto talk = [](const std::string& model, const Arguments& more) {
    Arguments all = {"chat",     "-m",     model, "--ban", all_but(kLetters),
                     "--preset", "greedy", "-n",  "9"};
    all.insert(all.end(), more.begin(), more.end());
    return run_anser(all, "hello\nand you?\n");
  };
  const Result chat = talk(story_model(), {"--template", "chat"});
  EXPECT_EQ(chat.out, talk(vocabulary_model(), {}).out);
  EXPECT_EQ(chat.err.find("story"), std::string::npos) << chat.err;
  const Result story = talk(vocabulary_model(), {"--template", "story"});
  EXPECT_EQ(story.out, talk(story_model(), {}).out);
  EXPECT_NE(story.out, chat.out);
  EXPECT_NE(story.err.find("written into a story"), std::string::npos) << story.err;
  EXPECT_EQ(story.err.find("cannot converse"), std::string::npos) << story.err;
}

TEST(StoryChat, HasNoPlaceForASystemText) {
  const Result result = run_anser({"chat", "-m", story_model(), "--system", "be kind"}, "hello\n");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  // Not at the beginning: on a busy machine it says first that it is loading.
  EXPECT_NE(result.err.find("anser: --system has no place in a story"), std::string::npos)
      << result.err;
}

TEST(StoryChat, EnterAloneGoesOnAtATerminal) {
  const Arguments more = {"-n", "9"};
  const TempDir folder;
  const std::string save = "/save " + (folder / "state") + "\n";
  const Result result = run_anser_at_terminal(arguments("chat", all_but(kLetters), more),
                                              {"hello\n", "\n", save, "/quit\n"});
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_NE(result.out.find("Enter alone lets it go on"), std::string::npos) << result.out;
  const std::string first = lines(chat("hello\n", kLetters, more).out).at(0);
  EXPECT_NE(result.out.find(first), std::string::npos) << result.out;
  const std::string both = run(arguments("run", all_but(kLetters), {"-p", "hello", "-n", "18"}));
  EXPECT_TRUE(read_file(folder / "state") == state_after("hello" + both)) << result.out;
}

TEST(StoryRun, EndsWithASentenceUnlessALengthIsGiven) {
  const auto dots = [](const Arguments& more) {
    return run(arguments("run", all_but("."), more)).size();
  };
  EXPECT_EQ(dots({"-p", "hello"}), 214u);    // two thirds of 320
  EXPECT_EQ(dots({"-p", "\"hello"}), 320u);  // within speech
  EXPECT_EQ(dots({"-p", "hello", "-n", "30"}), 30u);
  EXPECT_EQ(nlohmann::json::parse(run(arguments("run", all_but("."), {"-p", "x", "--json"})))
                .at("reason"),
            "length");
  EXPECT_EQ(run({"run", "-m", vocabulary_model(), "--ban", all_but("."), "-p", "hello"}).size(),
            256u);
}

TEST(Run, ATerminalShowsThePromptBeforeItsContinuation) {
  const Arguments more = {"-p", "hello", "-n", "9"};
  const std::string text = run(arguments("run", all_but(kLetters), more));
  const std::string shown =
      run_anser_at_terminal(arguments("run", all_but(kLetters), more), {}).out;
  EXPECT_NE(shown.find("\x1b[1mhello\x1b[0m" + text + "\r\n"), std::string::npos) << shown;
  const std::string plain =
      run_anser_at_terminal(arguments("run", all_but(kLetters), more), {}, "dumb").out;
  EXPECT_NE(plain.find("hello" + text + "\r\n"), std::string::npos) << plain;
}

TEST(Sampling, OptionsGoBeforeThePresetAndThatBeforeTheModel) {
  // Its file says: temperature 0.
  const auto write = [](const Arguments& more) {
    Arguments all = {"run", "-m", greedy_model(), "--ban", all_but(kLetters), "-p", "x",
                     "-n",  "30", "--seed",       "1"};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  const std::string greedy = write({"--preset", "greedy"});
  EXPECT_EQ(write({}), greedy);
  EXPECT_NE(write({"--temperature", "3", "--top-p", "1"}), greedy);
  EXPECT_NE(write({"--preset", "creative"}), greedy);
  EXPECT_EQ(
      write({"--preset", "creative", "--temperature", "0", "--presence", "0", "--frequency", "0"}),
      greedy);
}

TEST(Sampling, AChatTakesTheModelsToo) {
  const auto talk = [](const std::string& model, const std::string& seed) {
    return run_anser({"chat", "-m", model, "--ban", all_but(kLetters), "-n", "30", "--seed", seed},
                     "hello\n")
        .out;
  };
  EXPECT_EQ(talk(greedy_model(), "1"), talk(greedy_model(), "2"));
  EXPECT_NE(talk(vocabulary_model(), "1"), talk(vocabulary_model(), "2"));
}

TEST(Info, SaysWhatAModelIsFor) {
  const std::string card = run({"info", "-m", story_model()});
  EXPECT_NE(card.find("kind             story: it cannot converse"), std::string::npos) << card;
  EXPECT_NE(card.find("sampling         temperature 0.75, top-k 40"), std::string::npos) << card;
  const std::string other = run({"info", "-m", vocabulary_model()});
  EXPECT_EQ(other.find("kind "), std::string::npos) << other;
  EXPECT_EQ(other.find("sampling"), std::string::npos) << other;
}

}  // namespace
}  // namespace support
