// anser run: continuation, stops, states, JSON.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/models.h"
#include "cli/program.h"

namespace support {
namespace {

using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

// Random weights write random bytes; without control characters and bytes beyond ASCII they are
// text, one character a token.
std::string printable_only() {
  std::string list;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte < 32 || byte >= 127) list += std::to_string(byte) + ",";
  }
  list.pop_back();
  return list;
}

Arguments run_arguments(const Arguments& more) {
  Arguments arguments = {"run", "-m", byte_model(), "--ban", printable_only()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Json run_json(Arguments more, const std::string& input = "") {
  more.push_back("--json");
  const Result result = run_anser(run_arguments(more), input);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return Json::parse(result.out);
}

TEST(Run, WritesTheContinuationToStdoutAndTheRestToStderr) {
  const Result result = run_anser(run_arguments({"-p", "Once", "-n", "20", "--seed", "7"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out.size(), 20u) << result.out;
  EXPECT_NE(result.err.find("prompt 4 tokens"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("generated 20 tokens"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("seed 7"), std::string::npos) << result.err;
}

TEST(Run, JsonHasTheContractsKeys) {
  const Json object = run_json({"-p", "Once", "-n", "20", "--seed", "7"});
  EXPECT_EQ(object["text"].get<std::string>().size(), 20u);
  EXPECT_EQ(object["tokens"].size(), 20u);
  EXPECT_EQ(object["reason"], "length");
  EXPECT_EQ(object["seed"], 7);
  EXPECT_EQ(object["timings"]["prompt_tokens"], 4);
  EXPECT_EQ(object["timings"]["generated_tokens"], 20);
  EXPECT_EQ(object["text"],
            run_anser(run_arguments({"-p", "Once", "-n", "20", "--seed", "7"})).out);
}

TEST(Run, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  // The seeds' texts are random bytes; JSON must be able to hold them.
  const Result result =
      run_anser({"run", "-m", byte_model(), "-p", "x", "-n", "200", "--top-p", "1", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(Json::parse(result.out)["text"].get<std::string>().find("\xef\xbf\xbd"),
            std::string::npos);
}

TEST(Run, TheSeedDecides) {
  const Json first = run_json({"-p", "x", "-n", "40", "--top-p", "1", "--seed", "1"});
  EXPECT_EQ(run_json({"-p", "x", "-n", "40", "--top-p", "1", "--seed", "1"})["text"],
            first["text"]);
  EXPECT_NE(run_json({"-p", "x", "-n", "40", "--top-p", "1", "--seed", "2"})["text"],
            first["text"]);
}

TEST(Run, APresetGoesFirstAndSingleValuesOverrideIt) {
  const Json greedy = run_json({"-p", "x", "-n", "30", "--preset", "greedy"});
  EXPECT_EQ(run_json({"-p", "x", "-n", "30", "--temperature", "0"})["text"], greedy["text"]);
  // Greedy with a temperature is greedy no more; whichever way round the two are given.
  EXPECT_NE(run_json({"-p", "x", "-n", "30", "--temperature", "3", "--top-p", "1", "--preset",
                      "greedy"})["text"],
            greedy["text"]);
}

TEST(Run, PromptFromStdin) {
  const Json given = run_json({"-p", "a prompt", "-n", "10", "--preset", "greedy"});
  EXPECT_EQ(run_json({"-n", "10", "--preset", "greedy"}, "a prompt")["text"], given["text"]);
  // One newline at the end is the shell's, not the prompt's.
  EXPECT_EQ(run_json({"-p", "-", "-n", "10", "--preset", "greedy"}, "a prompt\n")["text"],
            given["text"]);
}

TEST(Run, ThreadsChangeNothing) {
  EXPECT_EQ(run_json({"-p", "x", "-n", "20", "--preset", "greedy", "--threads", "3"})["text"],
            run_json({"-p", "x", "-n", "20", "--preset", "greedy", "--threads", "1"})["text"]);
}

TEST(Run, StopsBeforeAStopText) {
  const std::string text = run_json({"-p", "x", "-n", "60", "--seed", "5"})["text"];
  const std::string stop = text.substr(17, 3), other = "not in there";
  const Json stopped =
      run_json({"-p", "x", "-n", "60", "--seed", "5", "--stop", other, "--stop", stop});
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(stopped["reason"], "stop_text");
}

TEST(Run, AWorldVocabularyBeginsWithTokenZero) {
  const auto prompt_tokens = [](Arguments more) {
    Arguments arguments = {"run", "-m", vocabulary_model(), "-p", "four", "-n", "1", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run_anser(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out)["timings"]["prompt_tokens"].get<int>();
  };
  EXPECT_EQ(prompt_tokens({}), 5);
  EXPECT_EQ(prompt_tokens({"--no-bos"}), 4);
  EXPECT_EQ(prompt_tokens({"--template", "chat"}), int(sizeof("User: four\n\nAssistant:") - 1));
}

TEST(Run, ASavedStateGoesOnExactly) {
  const TempDir folder;
  const Json whole = run_json({"-p", "Once", "-n", "20", "--preset", "greedy"});
  const Json first =
      run_json({"-p", "Once", "-n", "10", "--preset", "greedy", "--save-state", folder / "s"});
  const Json second = run_json({"-n", "10", "--preset", "greedy", "--load-state", folder / "s"});
  EXPECT_EQ(first["text"].get<std::string>() + second["text"].get<std::string>(), whole["text"]);
  EXPECT_EQ(second["timings"]["prompt_tokens"], 0);
}

// A pipe or a file beside --load-state is the prompt; nothing there, or -p '', goes on as it is.
TEST(Run, ALoadedStateGoesOnWithWhatIsPipedIn) {
  const TempDir folder;
  const std::string state = folder / "s";
  run_json({"-p", "Once", "-n", "0", "--save-state", state});
  const Arguments load = {"-n", "10", "--preset", "greedy", "--load-state", state};
  const auto with = [&](Arguments more, const std::string& input = "") {
    more.insert(more.begin(), load.begin(), load.end());
    return run_json(more, input)["text"].get<std::string>();
  };
  const std::string as_it_is = with({"-p", ""}), prompted = with({"-p", " upon"});
  EXPECT_NE(as_it_is, prompted);
  EXPECT_EQ(with({}), as_it_is);
  EXPECT_EQ(with({}, "\n"), as_it_is);
  EXPECT_EQ(with({}, " upon"), prompted);
  EXPECT_EQ(with({}, " upon\n"), prompted);
  EXPECT_EQ(with({"-p", ""}, " upon"), as_it_is);
  EXPECT_EQ(with({"-p", "", "--template", "chat"}), as_it_is);

  std::string run = "\"$0\"";
  for (const std::string& word : run_arguments(load)) run += " '" + word + "'";
  EXPECT_EQ(run_shell("printf ' upon' | " + run).out, prompted);
  EXPECT_EQ(run_shell("cat /dev/null | " + run).out, as_it_is);
  EXPECT_EQ(run_shell(run + " < /dev/null").out, as_it_is);
  EXPECT_EQ(run_shell(run + " <&-").out, as_it_is);
  EXPECT_NE(run_anser_at_terminal(run_arguments(load), {}).out.find(as_it_is), std::string::npos);
  const Result slow = run_shell("(sleep 1.5; printf ' upon') | " + run);
  EXPECT_EQ(slow.out, prompted);
  EXPECT_NE(slow.err.find("waiting for a prompt"), std::string::npos) << slow.err;
}

TEST(Run, ASystemTextComesAtTheBeginningOrNotAtAll) {
  const TempDir folder;
  run_json({"-p", "Once", "-n", "0", "--save-state", folder / "s"});
  const Result result = run_anser(run_arguments(
      {"--load-state", folder / "s", "--template", "chat", "--system", "x", "-p", "y"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("--system"), std::string::npos) << result.err;
  EXPECT_EQ(run_anser(run_arguments({"--load-state", folder / "s", "--template", "chat", "--system",
                                     "", "-p", "y", "-n", "1"}))
                .exit_code,
            0);
}

// Zeros in front make no octal numbers; a seed below 0 is that of the API.
TEST(Run, NumbersAreDecimal) {
  EXPECT_EQ(run_json({"-p", "x", "-n", "010"})["tokens"].size(), 10u);
  EXPECT_EQ(run_json({"-p", "x", "-n", "+08", "--seed", "0077"})["seed"], 77);
  EXPECT_EQ(run_json({"-p", "x", "-n", "1", "--seed", "-1"})["seed"], 18446744073709551615u);
  EXPECT_EQ(run_json({"-p", "x", "-n", "1", "--seed", "18446744073709551615"})["seed"],
            18446744073709551615u);
}

// `| head` ends the text, and the state is saved as with Ctrl-C.
TEST(Run, AStateIsSavedThoughTheReaderGoes) {
  const TempDir folder;
  std::string run = "\"$0\"";
  for (const std::string& word :
       run_arguments({"-p", "x", "-n", "100000", "--save-state", folder / "s"})) {
    run += " '" + word + "'";
  }
  EXPECT_EQ(run_shell("set -o pipefail; " + run + " | head -c 5").exit_code, 0);
  EXPECT_EQ(run_anser(run_arguments({"--load-state", folder / "s", "-n", "1"})).exit_code, 0);
}

// The bytes of é, 你 and 😀 and no others: a token is a byte, so most cuts are within a character.
std::string characters_only() {
  const std::string bytes = "\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80";
  std::string list;
  for (int byte = 0; byte < 256; ++byte) {
    if (bytes.find(char(byte)) == std::string::npos) list += std::to_string(byte) + ",";
  }
  list.pop_back();
  return list;
}

TEST(Run, ACutWithinACharacterLosesNothing) {
  const TempDir folder;
  const std::string state = folder / "s";
  for (const bool json : {false, true}) {
    const auto text = [&](Arguments more) {
      more.insert(more.begin(), {"run", "-m", byte_model(), "--ban", characters_only(), "--preset",
                                 "greedy", "--threads", "1"});
      if (json) more.push_back("--json");
      const Result result = run_anser(more);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      return json ? Json::parse(result.out)["text"].get<std::string>() : result.out;
    };
    const std::string whole = text({"-p", "Once", "-n", "24"});
    // There are characters of several bytes in it, so that there is something to lose.
    std::string whole_ones = whole;
    for (size_t at; (at = whole_ones.find("\ufffd")) != std::string::npos;) whole_ones.erase(at, 3);
    EXPECT_NE(whole_ones, "") << whole;
    for (int cut = 0; cut <= 24; ++cut) {
      const std::string first =
          text({"-p", "Once", "-n", std::to_string(cut), "--save-state", state});
      const std::string rest = text({"--load-state", state, "-n", std::to_string(24 - cut)});
      EXPECT_EQ(first + rest, whole) << cut;
    }
  }
}

TEST(Run, APromptMayComeFromAnEditorOfWindows) {
  const Json given = run_json({"-p", "two\nlines", "-n", "10", "--preset", "greedy"});
  for (const char* input : {"two\r\nlines\r\n", "\xef\xbb\xbftwo\r\nlines", "two\nlines\n"}) {
    EXPECT_EQ(run_json({"-n", "10", "--preset", "greedy"}, input)["text"], given["text"]);
  }
  const Result utf16 = run_anser(run_arguments({"-n", "1"}), std::string("\xff\xfe"
                                                                         "a\0",
                                                                         4));
  EXPECT_EQ(utf16.exit_code, 1);
  EXPECT_NE(utf16.err.find("UTF-16"), std::string::npos) << utf16.err;
}

TEST(Run, WithoutATokenizerTheReasonIsNamed) {
  const TempDir folder;
  write_gguf(folder / "m.gguf", random_model({.vocab = 300}, 2),
             {.metadata = {{"tokenizer.ggml.model", "gpt2"}}});
  const Result run = run_anser({"run", "-m", folder / "m.gguf", "-p", "x"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_NE(run.err.find("gpt2"), std::string::npos) << run.err;
  const Result logits =
      run_anser({"logits", "-m", folder / "m.gguf", "--tokens", "1,299", "-o", folder / "l.npy"});
  EXPECT_EQ(logits.exit_code, 0) << logits.err;
  for (const char* out : {"m2.gguf", "m2.safetensors"}) {
    const Result convert = run_anser({"convert", folder / "m.gguf", folder / out});
    EXPECT_EQ(convert.exit_code, 0) << convert.err;
    EXPECT_NE(convert.err.find("gpt2"), std::string::npos) << convert.err;
    EXPECT_EQ(run_anser({"run", "-m", folder / out, "-p", "x"}).exit_code, 1);
  }
  const Result quantised =
      run_anser({"quantize", folder / "m.gguf", folder / "q.gguf", "--type", "q8_0"});
  EXPECT_EQ(quantised.exit_code, 0) << quantised.err;
  EXPECT_EQ(run_anser({"run", "-m", folder / "q.gguf", "-p", "x"}).exit_code, 1);
}

TEST(Run, NoTokensSaveThePromptsState) {
  const TempDir folder;
  run_json({"-p", "Once upon", "-n", "0", "--save-state", folder / "whole"});
  run_json({"-p", "Once", "-n", "0", "--save-state", folder / "half"});
  run_json({"-p", " upon", "-n", "0", "--load-state", folder / "half", "--save-state",
            folder / "halves"});
  EXPECT_TRUE(read_file(folder / "halves") == read_file(folder / "whole"));
}

TEST(Run, AfterAStopTextTheStateHasReadTheTextOnly) {
  const TempDir folder;
  const std::string text = run_json({"-p", "x", "-n", "60", "--seed", "5"})["text"];
  const Json stopped = run_json({"-p", "x", "-n", "60", "--seed", "5", "--stop", text.substr(17, 3),
                                 "--save-state", folder / "stopped"});
  run_json(
      {"-p", "x" + stopped["text"].get<std::string>(), "-n", "0", "--save-state", folder / "read"});
  EXPECT_TRUE(read_file(folder / "stopped") == read_file(folder / "read"));
}

TEST(Run, AStateOfAnotherModelIsRefused) {
  const TempDir folder;
  run_json({"-p", "Once", "-n", "0", "--save-state", folder / "s"});
  const Result result =
      run_anser({"run", "-m", vocabulary_model(), "--load-state", folder / "s", "-n", "1"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(result.err.starts_with("anser: ")) << result.err;

  std::string bytes = read_file(folder / "s");
  bytes[bytes.size() / 2] ^= 1;
  write_file(folder / "broken", bytes);
  EXPECT_EQ(run_anser(run_arguments({"--load-state", folder / "broken", "-n", "1"})).exit_code, 1);
}

TEST(Run, WritesWhatASchemaWants) {
  const char* schema = R"({"type":"object","properties":{"n":{"type":"integer"},
      "ok":{"type":"boolean"}},"required":["n","ok"]})";
  const TempDir folder;
  write_file(folder / "schema.json", schema);
  write_file(folder / "windows.json", std::string("\xef\xbb\xbf") + schema + "\r\n");
  const Arguments arguments = {"run", "-m", vocabulary_model(), "-p", "x", "--json"};
  const auto run = [&](Arguments more) {
    more.insert(more.begin(), arguments.begin(), arguments.end());
    const Result result = run_anser(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out);
  };
  for (const char* seed : {"1", "2", "3"}) {
    const Json given = run({"--json-schema", schema, "--seed", seed});
    EXPECT_EQ(given["reason"], "complete");
    const Json value = Json::parse(given["text"].get<std::string>());
    EXPECT_TRUE(value["n"].is_number_integer() && value["ok"].is_boolean()) << value;
    EXPECT_EQ(run({"--json-schema", folder / "schema.json", "--seed", seed})["text"],
              given["text"]);
    EXPECT_EQ(run({"--json-schema", folder / "windows.json", "--seed", seed})["text"],
              given["text"]);
    const std::string any = run({"--json-object", "--seed", seed, "-n", "40"})["text"];
    EXPECT_EQ(any.substr(any.find_first_not_of(" \n")).front(), '{') << any;
  }
}

TEST(Run, ASchemaThatCannotBeObeyedIsAnError) {
  const auto err = [&](const std::string& schema) {
    const Result result =
        run_anser({"run", "-m", vocabulary_model(), "-p", "x", "--json-schema", schema});
    EXPECT_EQ(result.exit_code, 1);
    return result.err;
  };
  EXPECT_NE(err(R"({"items":{"disallow":"null"}})").find("#/items: 'disallow'"), std::string::npos);
  EXPECT_NE(err("no-such-file.json").find("no-such-file.json"), std::string::npos);
}

TEST(Run, TheEmbeddedModelWrites) {
  const Result result = run_anser({"run", "-p", "Once upon a time", "-n", "8"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out, "");
}

}  // namespace
}  // namespace support
