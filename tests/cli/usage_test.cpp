// Exit codes and who says what where: 0 done, 1 explained, 2 wrong usage; stdout is data only.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "anser/version.h"
#include "cli/models.h"
#include "cli/program.h"
#include "support/temp_dir.h"

namespace support {
namespace {

using Arguments = std::vector<std::string>;

class WrongUsage : public testing::TestWithParam<Arguments> {};

TEST_P(WrongUsage, ExitsWith2AndSaysWhyOnStderr) {
  const Result result = run_anser(GetParam());
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
  EXPECT_NE(result.err.find("--help"), std::string::npos) << result.err;
}

INSTANTIATE_TEST_SUITE_P(
    Cli, WrongUsage,
    testing::Values(
        Arguments{}, Arguments{"nonsense"}, Arguments{"run", "--nonsense"},
        Arguments{"run"},  // stdin is empty
        Arguments{"run", "-p", "x", "-n", "many"}, Arguments{"run", "-p", "x", "-n", "-1"},
        Arguments{"run", "-p", "x", "--template", "poem"},
        Arguments{"run", "-p", "x", "--preset", "wild"},
        Arguments{"run", "-p", "x", "--temperature", "-1"},
        Arguments{"run", "-p", "x", "--top-p", "1.5"}, Arguments{"run", "-p", "x", "--suffix", "y"},
        Arguments{"run", "-p", "x", "--system", "y"},
        Arguments{"run", "-p", "x", "--device", "abacus"},
        Arguments{"run", "-p", "x", "--threads", "-1"}, Arguments{"chat", "--template", "raw"},
        Arguments{"logits", "-p", "x"}, Arguments{"logits", "-o", "x.npy"},
        Arguments{"logits", "-p", "x", "--tokens", "1", "-o", "x.npy"},
        Arguments{"logits", "--tokens", "1,two", "-o", "x.npy"}, Arguments{"eval"},
        Arguments{"eval", "--kl", "x"}, Arguments{"eval", "--text", "x"},
        Arguments{"eval", "--perplexity", "x", "--lambada", "y"}, Arguments{"bench", "-b", "0"},
        Arguments{"bench", "-n", "0"}, Arguments{"bench", "-p", "12x"},
        Arguments{"bench", "-p", "0"}, Arguments{"bench", "--shape", "13B"},
        Arguments{"bench", "--zeros", "0.5"}, Arguments{"bench", "--shape", "0.1B", "-m", "x"}));

// An empty value is mostly a variable of a script that is not set.
INSTANTIATE_TEST_SUITE_P(
    EmptyValues, WrongUsage,
    testing::Values(
        Arguments{"run", "-p", "x", "-m", ""}, Arguments{"run", "-p", "x", "-m="},
        Arguments{"run", "-p", "x", "--model="}, Arguments{"run", "-p", "x", "--model=", "-n", "1"},
        Arguments{"run", "-p", "x", "--ban", ""}, Arguments{"run", "-p", "x", "--ban", ","},
        Arguments{"run", "-p", "x", "--ban", "1,,2"}, Arguments{"run", "-p", "x", "--ban", "1,"},
        Arguments{"run", "-p", "x", "-n", ""}, Arguments{"run", "-p", "x", "--vocab", ""},
        Arguments{"run", "-p", "x", "--stop", ""}, Arguments{"run", "-p", "x", "--stop="},
        Arguments{"run", "-p", "x", "--load-state", ""},
        Arguments{"run", "-p", "x", "--save-state", ""},
        Arguments{"run", "-p", "x", "--save-state=", "--json"},
        Arguments{"run", "-p", "x", "--json-schema", ""}, Arguments{"run", "-p", "x", "--seed", ""},
        Arguments{"run", "-p", "x", "--top-k", ""}, Arguments{"run", "-p", "x", "--preset", ""},
        Arguments{"run", "-p", "x", "--order", ""}, Arguments{"run", "-p", "x", "--template", ""},
        Arguments{"run", "-p", "x", "--device", ""}, Arguments{"run", "-p", "x", "--threads", ""},
        Arguments{"chat", "-m", ""}, Arguments{"chat", "--load-state", ""},
        Arguments{"chat", "-n", ""}, Arguments{"chat", "--stop", ""}, Arguments{"serve", "-m", ""},
        Arguments{"serve", "--api-key", ""}, Arguments{"serve", "--host", ""},
        Arguments{"serve", "--port", ""}, Arguments{"serve", "--name", ""},
        Arguments{"serve", "--allowed-host", ""}, Arguments{"serve", "--cors-origin", ""},
        Arguments{"serve", "--state-dir", ""}, Arguments{"serve", "--state-store", ""},
        Arguments{"serve", "--max-n", ""}, Arguments{"eval", "--perplexity", ""},
        Arguments{"eval", "--kl", "", "--text", "x"},
        Arguments{"logits", "-p", "", "-o", "/dev/null"},
        Arguments{"logits", "--tokens", "", "-o", "/dev/null"},
        Arguments{"logits", "--tokens", "1,,2", "-o", "/dev/null"},
        Arguments{"logits", "-p", "x", "-o", ""}, Arguments{"bench", "-b", ""},
        Arguments{"bench", "-p", "1,,2"}, Arguments{"bench", "--shape", ""},
        Arguments{"tokenize", "-m", "", "x"}, Arguments{"tokenize", "--vocab", "", "x"},
        Arguments{"info", "-m", ""}, Arguments{"info", "--vocab", "x"},
        Arguments{"quantize", "", "x.gguf", "--type", "q8_0"}, Arguments{"convert", "x", ""},
        Arguments{"convert", "x", "y.gguf", "--save-vocab", ""},
        Arguments{"state", "ls", "--state-dir", ""}, Arguments{"state", "ls", "--tag", ""},
        Arguments{"state", "ls", "--parent", ""}, Arguments{"state", "ls", "-m", ""},
        Arguments{"state", "show", ""}, Arguments{"state", "rm", "x", ""},
        Arguments{"state", "save", "-p", "x", "--name", ""},
        Arguments{"state", "save", "-p", "x", "--name=", "--json"},
        Arguments{"state", "save", "-p", "x", "--tag", ""},
        Arguments{"state", "save", "-p", "x", "--parent", ""},
        Arguments{"state", "fork", "x", "--name", ""}, Arguments{"state", "load", "x", "-o", ""}));

INSTANTIATE_TEST_SUITE_P(
    Numbers, WrongUsage,
    testing::Values(
        Arguments{"run", "-p", "x", "-n", "3x"}, Arguments{"run", "-p", "x", "-n", "1e3"},
        Arguments{"run", "-p", "x", "-n", "0x10"}, Arguments{"run", "-p", "x", "-n", " 3"},
        Arguments{"run", "-p", "x", "-n", "3.0"}, Arguments{"run", "-p", "x", "-n", "9999999999"},
        Arguments{"run", "-p", "x", "--seed", "99999999999999999999999"},
        Arguments{"run", "-p", "x", "--seed", "1.5"}, Arguments{"run", "-p", "x", "--seed", "0x1"},
        Arguments{"run", "-p", "x", "--temperature", "nan"},
        Arguments{"run", "-p", "x", "--temperature", "1e400"},
        Arguments{"run", "-p", "x", "--presence", "inf"},
        Arguments{"run", "-p", "x", "--top-p", "0.5x"},
        Arguments{"run", "-p", "x", "--top-p", "0x1p-1"},
        Arguments{"run", "-p", "x", "--ban", "1,0x2"}, Arguments{"run", "-p", "x", "--ban", "-1"},
        Arguments{"serve", "--patience", "inf"}, Arguments{"serve", "--max-wait", "nan"},
        Arguments{"serve", "--piece", "nan"}, Arguments{"serve", "--port", "70000"},
        Arguments{"serve", "--port", "-1"}, Arguments{"bench", "--shape", "0.1B", "--zeros", "nan"},
        Arguments{"bench", "-b", "99999999999"},
        Arguments{"logits", "--tokens", "1,99999999999", "-o", "/dev/null"}));

// What would have no effect.
INSTANTIATE_TEST_SUITE_P(
    Combinations, WrongUsage,
    testing::Values(
        Arguments{"run", "-m", "x", "-m", "y", "-p", "x"},
        Arguments{"run", "-p", "x", "--seed", "1", "--seed", "2"},
        Arguments{"run", "--load-state", "s", "--suffix", "y", "-p", "x"},
        Arguments{"run", "--load-state", "s", "--system", "y", "-p", "x"},
        Arguments{"run", "--load-state", ANSER_BINARY, "--template", "fim", "--suffix", "y"},
        Arguments{"serve", "--no-states", "--state-dir", "x"},
        Arguments{"serve", "--no-states", "--state-ram-mb", "1"},
        Arguments{"serve", "--state-dir", "x", "--state-days", "1"},
        Arguments{"serve", "--state-dir", "x", "--state-store", "redis://x"},
        Arguments{"serve", "--state-store", "redis://x", "--state-disk-mb", "1"},
        Arguments{"serve", "--cors-origin", "*"}, Arguments{"serve", "--cors-origin", "null"},
        Arguments{"serve", "--cors-origin", "http://a.example/page"},
        Arguments{"serve", "--cors-origin", "a.example"},
        Arguments{"serve", "--allowed-host", "http://a.example"},
        Arguments{"serve", "--allowed-host", "a.example:8080"},
        Arguments{"serve", "--allowed-host", "*"},
        Arguments{"state", "save", "file", "--device", "cpu"},
        Arguments{"state", "save", "file", "--vocab", "x"},
        Arguments{"logits", "-p", "x", "-o", "-"}, Arguments{"run", "-p", "x", "--save-state", "-"},
        Arguments{"state", "label", "x"}));

TEST(Usage, WrongUsageIsSaidInWordsOfTheProgram) {
  for (const auto& [arguments, sentence] :
       {std::pair(Arguments{"run", "-p", "x", "-n", "-1"},
                  "--max-tokens: expected 0 or more, found -1"),
        std::pair(Arguments{"chat", "-n", "0"}, "--max-tokens: expected 1 or more, found 0"),
        std::pair(Arguments{"serve", "--patience", "-0.5"},
                  "--patience: expected 0 or more, found -0.5"),
        std::pair(Arguments{"run", "-p", "x", "-n", "2147483648"},
                  "--max-tokens = 2147483648 is out of range"),
        std::pair(Arguments{"run", "-p", "x", "--seed", "1", "--seed", "2"},
                  "--seed: given more than once"),
        std::pair(Arguments{"serve", "--cors-origin", "*"},
                  "--cors-origin: * lets every web page in; that needs an API key (--api-key)"),
        std::pair(Arguments{"serve", "--allowed-host", "a.example:80"},
                  "--allowed-host: \"a.example:80\" is no name"),
        std::pair(Arguments{"run", "--sing", "x"}, "not expected: --sing x"),
        std::pair(Arguments{"sing"}, "there is no command sing"),
        std::pair(Arguments{"state", "sing"}, "there is no command sing")}) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_TRUE(result.err.starts_with(std::string("anser: ") + sentence)) << result.err;
  }
}

class Failure : public testing::TestWithParam<Arguments> {};

TEST_P(Failure, ExitsWith1AndOneSentence) {
  const Result result = run_anser(GetParam());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
  EXPECT_EQ(result.err.find("internal"), std::string::npos) << result.err;
}

INSTANTIATE_TEST_SUITE_P(
    Cli, Failure,
    testing::Values(Arguments{"run", "-m", "/nonexistent/model.pth", "-p", "x"},
                    Arguments{"run", "-m", "/", "-p", "x"},  // a folder without a model
                    Arguments{"info", "-m", "/dev/null"},
                    Arguments{"run", "-m", ANSER_BINARY, "-p", "x"},
                    Arguments{"run", "-p", "x", "--load-state", "/nonexistent/state"},
                    Arguments{"run", "-p", "x", "--ban", "99999999"},
                    Arguments{"run", "-p", "x", "--device", "cuda"},
                    Arguments{"run", "-p", "x", "--device", "cpu", "--state16"},
                    Arguments{"logits", "-p", "x", "-o", "/nonexistent/x.npy"},
                    Arguments{"logits", "--tokens", "99999999", "-o", "/dev/null"},
                    Arguments{"logits", "--tokens", "-1", "-o", "/dev/null"},
                    Arguments{"eval", "--perplexity", "/nonexistent/text"},
                    Arguments{"eval", "--lambada", "/dev/null"},
                    Arguments{"eval", "--kl", "/nonexistent/model", "--text", "/dev/null"},
                    Arguments{"eval", "-m", byte_model(), "--kl", byte_model(), "--text",
                              "/dev/null"},
                    Arguments{"tokenize", "--vocab", "/nonexistent/vocabulary", "x"}));

TEST(Usage, HelpIsDataAndASuccess) {
  for (const Arguments& arguments :
       {Arguments{"--help"}, Arguments{"run", "--help"}, Arguments{"chat", "--help"},
        Arguments{"logits", "--help"}, Arguments{"eval", "--help"}, Arguments{"bench", "--help"},
        Arguments{"info", "--help"}, Arguments{"tokenize", "--help"}, Arguments{"state", "--help"},
        Arguments{"state", "save", "--help"}, Arguments{"--version"}}) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out, "");
    EXPECT_EQ(result.err, "");
  }
}

TEST(Usage, TheVersionIsThatOfTheHeaders) {
  const std::string version =
      fmt::format("{}.{}.{}", ANSER_VERSION_MAJOR, ANSER_VERSION_MINOR, ANSER_VERSION_PATCH);
  EXPECT_EQ(anser::version(), version);
  EXPECT_EQ(run_anser({"--version"}).out, "anser " + version + "\n");
  // The change log speaks of it.
  EXPECT_NE(read_file(ANSER_SOURCE_DIR "/CHANGELOG.md").find("## [" + version + "]"),
            std::string::npos);
}

TEST(Usage, WhatMeansSomethingEmptyIsTaken) {
  for (const Arguments& arguments :
       {Arguments{"tokenize", ""}, Arguments{"run", "-p", "", "-n", "1"},
        Arguments{"run", "--prompt=", "-n", "1"}, Arguments{"run", "-p", "--model=", "-n", "1"},
        Arguments{"run", "-p", "x", "--template", "chat", "--system", "", "-n", "1"},
        Arguments{"run", "-p", "x", "--template", "fim", "--suffix=", "-n", "1"}}) {
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
}

TEST(Usage, EmptyEnvironmentIsExplained) {
  for (const auto& [name, arguments] :
       {std::pair("ANSER_API_KEY", Arguments{"serve", "--no-states", "-m", "/nonexistent"}),
        std::pair("ANSER_STATE_DIR", Arguments{"state", "ls"}),
        std::pair("ANSER_STATE_DIR", Arguments{"serve", "-m", "/nonexistent"}),
        std::pair("ANSER_STATE_STORE", Arguments{"state", "ls"})}) {
    setenv(name, "", 1);
    const Result result = run_anser(arguments);
    unsetenv(name);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find(name), std::string::npos) << result.err;
  }
}

// Keys that everybody would know or nobody could send; and what is wrong in a file of them, by
// line. The key itself is not repeated.
TEST(Usage, BadApiKeysAreExplained) {
  const Arguments serve = {"serve", "--no-states", "-m", "/nonexistent"};
  for (const char* key : {" ", "\t", " a", "a ", "a\nb",
                          "a\x01"
                          "b",
                          "a\x7f"}) {
    Arguments arguments = serve;
    arguments.insert(arguments.end(), {"--api-key", key});
    Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find("an API key"), std::string::npos) << result.err;
    setenv("ANSER_API_KEY", key, 1);
    result = run_anser(serve);
    unsetenv("ANSER_API_KEY");
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find("ANSER_API_KEY"), std::string::npos) << result.err;
  }
  EXPECT_EQ(run_anser({"serve", "--shared-cache"}).exit_code, 2);  // without keys
  const TempDir folder;
  const std::string file = folder / "keys";
  for (const auto& [text, sentence] :
       {std::pair("", "there is no API key"), std::pair("# none\n\n", "there is no API key"),
        std::pair("ok\na b c\n", "line 2: expected NAME KEY"),
        std::pair("a secret\nb secret\n", "line 2: an API key is given twice"),
        std::pair("sec/ret alice\n", "line 1: the name")}) {
    write_file(file, text);
    Arguments arguments = serve;
    arguments.insert(arguments.end(), {"--api-key-file", file});
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_NE(result.err.find(sentence), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find("sec"), std::string::npos) << result.err;
  }
  EXPECT_EQ(
      run_anser({"serve", "-m", "/nonexistent", "--api-key-file", "/nonexistent/keys"}).exit_code,
      1);
}

// Before the model is loaded, which these have none of.
TEST(Usage, AServerThatOthersCanReachWithoutAKeyIsSaidLoudly) {
  const auto said = [](Arguments arguments) {
    arguments.insert(arguments.end(), {"-m", "/nonexistent", "--no-states", "--port", "0"});
    return run_anser(arguments).err;
  };
  constexpr char kLoud[] = "WARNING: there is no API key";
  EXPECT_NE(said({"serve", "--host", "0.0.0.0"}).find(kLoud), std::string::npos);
  EXPECT_EQ(said({"serve"}).find(kLoud), std::string::npos);
  const TempDir folder;
  const std::string file = folder / "keys";
  write_file(file, "alice secret\n");
  std::filesystem::permissions(file, std::filesystem::perms(0644));
  const std::string open = said({"serve", "--host", "0.0.0.0", "--api-key-file", file});
  EXPECT_EQ(open.find(kLoud), std::string::npos);
  EXPECT_NE(open.find("alice"), std::string::npos) << open;
  EXPECT_NE(open.find("chmod 600"), std::string::npos) << open;
  EXPECT_EQ(open.find("secret"), std::string::npos) << open;
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  EXPECT_EQ(said({"serve", "--api-key-file", file}).find("chmod"), std::string::npos);
}

// A closed stream would be the next file that is opened.
TEST(Usage, ClosedStreamsAreNobodysFiles) {
  const TempDir folder;
  const std::string out = folder / "x.npy";
  const std::string logits = "\"$0\" logits -m " + byte_model() + " -p x -o " + out;
  EXPECT_EQ(run_shell(logits).exit_code, 0);
  const std::string whole = read_file(out);
  EXPECT_EQ(run_shell(logits + " <&- >&- 2>&-").exit_code, 0);
  EXPECT_TRUE(read_file(out) == whole);
  EXPECT_EQ(run_shell("\"$0\" run -p x -n 1 >&-").exit_code, 1);
}

TEST(Usage, AModelIsNotWrittenOver) {
  const TempDir folder;
  const std::string model = folder / "m.safetensors";
  const std::string bytes = read_file(byte_model());
  write_file(model, bytes);
  for (const Arguments& arguments :
       {Arguments{"run", "-m", model, "-p", "x", "-n", "1", "--save-state", model},
        Arguments{"logits", "-m", model, "-p", "x", "-o", model},
        Arguments{"convert", model, model},
        Arguments{"convert", model, folder / "n.gguf", "--save-vocab", model},
        Arguments{"convert", model, folder / "n.gguf", "--save-vocab", folder / "./n.gguf"}}) {
    EXPECT_EQ(run_anser(arguments).exit_code, 2);
    EXPECT_TRUE(read_file(model) == bytes);
  }
}

TEST(Usage, NothingElseThatIsReadIsWrittenOver) {
  const TempDir folder;
  const std::string model = byte_model(), state = folder / "s.state", form = folder / "form.json",
                    vocabulary = folder / "v.txt", lora = folder / "lora.pth";
  ASSERT_EQ(run_anser({"run", "-m", model, "-p", "x", "-n", "1", "--save-state", state}).exit_code,
            0);
  for (const std::string& file : {form, vocabulary, lora}) write_file(file, "x");
  for (const Arguments& arguments :
       {Arguments{"logits", "-m", model, "-p", "x", "--load-state", state, "-o", state},
        Arguments{"logits", "-m", model, "-p", "x", "--vocab", vocabulary, "-o", vocabulary},
        Arguments{"run", "-m", model, "-p", "x", "--json-schema", form, "--save-state", form},
        Arguments{"run", "-m", model, "-p", "x", "--lora", lora + ":2", "--save-state", lora},
        Arguments{"convert", model, folder / "n.gguf", "--vocab", vocabulary, "--save-vocab",
                  vocabulary},
        Arguments{"convert", model, folder / "n.gguf", "--lora", lora, "--save-vocab", lora}}) {
    const std::string out = arguments.back(), before = read_file(out);
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(out + " is read from"), std::string::npos) << result.err;
    EXPECT_TRUE(read_file(out) == before);
  }
  // A state that goes on in its own file is no such thing.
  EXPECT_EQ(run_anser({"run", "-m", model, "-p", "", "-n", "1", "--load-state", state,
                       "--save-state", state})
                .exit_code,
            0);
}

TEST(Usage, WhatNeverEndsIsRefusedBeforeTheMemoryIsFull) {
  for (const std::string script :
       {"\"$0\" run -n 1 </dev/zero", "yes | \"$0\" run -n 1", "yes | \"$0\" state save -p -",
        "yes | \"$0\" logits -p - -o /dev/null", "\"$0\" run -p x --json-schema /dev/zero",
        "\"$0\" chat </dev/zero"}) {
    const Result result = run_shell(script);
    EXPECT_EQ(result.exit_code, 1) << script;
    EXPECT_NE(result.err.find("64 MiB"), std::string::npos) << script << ": " << result.err;
  }
}

TEST(Usage, AVocabularyThatIsNotThereIsNotSaved) {
  const TempDir folder;
  const std::string model = folder / "m.safetensors";
  write_safetensors(model, random_model({.vocab = 300}, 1));
  const Result result =
      run_anser({"convert", model, folder / "m.gguf", "--save-vocab", folder / "v.txt"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err.find("no tokenizer"), result.err.rfind("no tokenizer")) << result.err;
}

// Before a model is loaded, which may take minutes: this one would take none.
TEST(Usage, WhatCannotBeReadOrWrittenShowsBeforeTheModel) {
  const Arguments model = {"-m", "/nonexistent/model"};
  for (const Arguments& arguments :
       {Arguments{"run", "-p", "x", "--save-state", "/nonexistent/s"},
        Arguments{"run", "-p", "x", "--save-state", "/tmp"},
        Arguments{"run", "-p", "x", "--load-state", "/nonexistent/s"},
        Arguments{"chat", "--load-state", "/nonexistent/s"},
        Arguments{"logits", "-p", "x", "-o", "/nonexistent/s"},
        Arguments{"logits", "-p", "x", "-o", "/dev/null", "--load-state", "/nonexistent/s"},
        Arguments{"eval", "--perplexity", "/nonexistent/s"},
        Arguments{"serve", "--no-states", "--host", "203.0.113.1"},
        Arguments{"serve", "--state-store", "redis://"}}) {
    Arguments all = arguments;
    all.insert(all.end(), model.begin(), model.end());
    const Result result = run_anser(all);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.err.find(model[1]), std::string::npos) << result.err;
  }
}

TEST(Usage, AFullDiskIsExplained) {
  for (const Arguments& arguments : {Arguments{"run", "-p", "x", "-n", "50"}, Arguments{"info"},
                                     Arguments{"tokenize", "hello"}, Arguments{"--help"}}) {
    const Result result = run_anser_into("/dev/full", arguments);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_NE(result.err.find("No space left"), std::string::npos) << result.err;
  }
  const Result file = run_anser({"logits", "-p", "x", "-o", "/dev/full"});
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_NE(file.err.find("No space left"), std::string::npos) << file.err;
}

TEST(Usage, AStateThatCannotBeSavedIsExplained) {
  const Result result =
      run_anser({"run", "-p", "x", "-n", "1", "--save-state", "/nonexistent/state"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;
}

TEST(Usage, AnIsaThatDoesNotExistIsExplained) {
  setenv("ANSER_ISA", "abacus", 1);
  const Result result = run_anser({"run", "-p", "x", "-n", "1"});
  unsetenv("ANSER_ISA");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("abacus"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace support
