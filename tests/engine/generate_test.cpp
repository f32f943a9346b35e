// The loop of generation, driven by a script instead of a model.
#include "anser/generate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "anser/error.h"
#include "engine/continuation.h"
#include "text/utf8.h"

namespace anser {
namespace {

// A "model" that writes given tokens, and then end-of-text; over bytes a given text (then byte 0).
class Script {
 public:
  explicit Script(const std::string& text) : Script(Tokenizer::bytes(), {}) {
    for (const char c : text) tokens_.push_back(uint8_t(c));
  }
  Script(Tokenizer tokenizer, std::vector<Token> tokens)
      : tokenizer_(std::move(tokenizer)), tokens_(std::move(tokens)) {}

  Generated run(const GenerateOptions& options, const OnText& on_text = {}) {
    return write(options, on_text, false);
  }

  // With the way back that generate() has.
  Generated run_rewinding(const GenerateOptions& options, const OnText& on_text = {}) {
    const Generated result = write(options, on_text, true);
    EXPECT_EQ(fed, result.tokens);
    return result;
  }

  std::vector<Token> fed;
  std::string unfinished;  // of a character, read before

 private:
  Generated write(const GenerateOptions& options, const OnText& on_text, bool rewinds) {
    fed.clear();
    at_ = 0;
    set_logits();
    Continuation continuation(tokenizer_, options, rewinds);
    continuation.begin(unfinished);
    Generated result{{}, {}, StopReason::length};
    const auto give = [&](const std::string& piece) {
      if (piece.empty()) return true;
      result.text += piece;
      return !on_text || on_text(piece);
    };
    std::vector<Token> marked;
    bool ended = false;
    while (!ended && continuation.wants_token()) {
      Continuation::Next next = continuation.take(continuation.sampler().sample(logits_));
      if (next.mark) marked = fed;
      if (!give(next.text) && !next.end) next = continuation.cancel();
      if (next.rewind) fed = marked;
      fed.insert(fed.end(), next.feed.begin(), next.feed.end());
      ++at_;
      set_logits();
      if ((ended = next.end.has_value())) result.reason = *next.end;
    }
    if (!ended) give(continuation.finish());
    result.tokens = continuation.tokens();
    return result;
  }

  void set_logits() {
    logits_.assign(size_t(tokenizer_.size()), 0.0f);
    logits_[at_ < tokens_.size() ? size_t(tokens_[at_]) : 0] = 50.0f;
  }

  Tokenizer tokenizer_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  std::vector<float> logits_;
};

std::vector<Token> bytes_of(const std::string& text) {
  std::vector<Token> ids;
  for (const char c : text) ids.push_back(uint8_t(c));
  return ids;
}

GenerateOptions greedy(std::vector<std::string> stop = {}, int max_tokens = 1000) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.temperature = 0;
  options.stop = std::move(stop);
  options.stop_tokens = {0};
  return options;
}

// Runs, and checks what holds for every run: the pieces are the text.
Generated run(Script& script, const GenerateOptions& options,
              std::vector<std::string>* given = nullptr) {
  std::vector<std::string> pieces;
  const Generated result = script.run(options, [&](std::string_view piece) {
    EXPECT_FALSE(piece.empty());
    pieces.emplace_back(piece);
    return true;
  });
  std::string joined;
  for (const std::string& piece : pieces) joined += piece;
  EXPECT_EQ(joined, result.text);
  EXPECT_EQ(script.fed, result.tokens);
  if (given != nullptr) *given = pieces;
  return result;
}

TEST(Generate, StopsAtEndOfTextWhichIsNotFed) {
  Script script("Hello");
  std::vector<std::string> pieces;
  const Generated result = run(script, greedy(), &pieces);
  EXPECT_EQ(result.text, "Hello");
  EXPECT_EQ(result.reason, StopReason::stop_token);
  EXPECT_EQ(result.tokens, bytes_of("Hello"));
  EXPECT_EQ(pieces.size(), 5u);  // as soon as each is certain
}

TEST(Generate, OtherStopTokens) {
  Script script("ab.cd");
  GenerateOptions options = greedy();
  options.stop_tokens = {'.', 'x'};
  EXPECT_EQ(run(script, options).text, "ab");
  options.stop_tokens = {};
  options.max_tokens = 7;
  const Generated result = run(script, options);
  EXPECT_EQ(result.text, std::string("ab.cd\0\0", 7));
  EXPECT_EQ(result.reason, StopReason::length);
}

TEST(Generate, Length) {
  Script script("Hello");
  Generated result = run(script, greedy({}, 3));
  EXPECT_EQ(result.text, "Hel");
  EXPECT_EQ(result.reason, StopReason::length);
  EXPECT_EQ(script.fed.size(), 3u);
  result = run(script, greedy({}, 0));
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.reason, StopReason::length);
  EXPECT_TRUE(script.fed.empty());
}

TEST(Generate, StopTextIsNotGivenOutAndHasBeenRead) {
  Script script("Hi.\n\nUser: more");
  const Generated result = run(script, greedy({"\n\nUser:", "\nUser:"}));
  EXPECT_EQ(result.text, "Hi.");
  EXPECT_EQ(result.reason, StopReason::stop_text);
  EXPECT_EQ(script.fed, bytes_of("Hi.\n\nUser:"));
}

TEST(Generate, WithARewindTheStopTextHasNotBeenRead) {
  const std::vector<std::string> stops = {"\n\nUser:", "\nUser:"};
  for (const std::string text :
       {"", "Hi.", "Hi.\n", "Hi.\n\nUse", "Hi.\n\nUser\n\n", "\xe4\xbd\xa0"}) {
    Script script(text + "\n\nUser: more");
    const Generated result = script.run_rewinding(greedy(stops));
    EXPECT_EQ(result.text, text);
    EXPECT_EQ(result.reason, StopReason::stop_text);
    EXPECT_EQ(script.fed, bytes_of(text));
  }
}

TEST(Generate, WithARewindWhatAReaderDidNotGetHasNotBeenRead) {
  Script script("Hello");
  std::string seen;
  const Generated result = script.run_rewinding(greedy({"lo"}), [&](std::string_view piece) {
    seen += piece;
    return seen.size() < 3;
  });
  EXPECT_EQ(result.text, "Hel");
  EXPECT_EQ(script.fed, bytes_of("Hel"));
}

TEST(Generate, EndsBehindAStopStringThatIsPartOfTheText) {
  Script script("Hi.\n\nUser: more");
  GenerateOptions options = greedy();
  options.stop_after = {"User:", "\n\nU"};
  Generated result = run(script, options);
  EXPECT_EQ(result.text, "Hi.\n\nU");
  EXPECT_EQ(result.reason, StopReason::stop_text);
  EXPECT_EQ(script.fed, bytes_of("Hi.\n\nU"));
  // Beside one that is not: the first to be complete counts, of the same string this one.
  options.stop = {"\n\n"};
  EXPECT_EQ(run(script, options).text, "Hi.");
  options.stop_after.push_back("\n\n");
  EXPECT_EQ(run(script, options).text, "Hi.\n\n");
  options.stop_after = {""};
  EXPECT_THROW(run(script, options), Error);
}

// The state has read the stop string and nothing that its last token has behind it.
TEST(Generate, AStopStringMayEndWithinAToken) {
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary += fmt::format("{} b'\\x{:02x}' 1\n", byte + 1, byte);
  }
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(vocabulary + "257 '\\nUs' 3\n", "test");
  for (const bool rewinds : {true, false}) {
    Script script(tokenizer, {'a' + 1, 257, 'e' + 1});
    GenerateOptions options = greedy();
    options.stop_after = {"\nU"};
    const Generated result = rewinds ? script.run_rewinding(options) : script.run(options);
    EXPECT_EQ(result.text, "a\nU");
    EXPECT_EQ(tokenizer.decode(script.fed), "a\nU");
    EXPECT_EQ(result.tokens, script.fed);
  }
}

TEST(Generate, AStopTokenMayBePartOfTheText) {
  Script script("ab.cd");
  GenerateOptions options = greedy({"b.c"});
  options.stop_tokens = {'.'};
  options.include_stop_tokens = true;
  const Generated result = script.run_rewinding(options);
  EXPECT_EQ(result.text, "ab.");
  EXPECT_EQ(result.reason, StopReason::stop_token);
  EXPECT_EQ(script.fed, bytes_of("ab."));
}

TEST(Generate, NothingEndsBeforeTheLeastNumberOfTokens) {
  // The script's end comes after five tokens; only the second most probable is left until then.
  Script script("Hello");
  GenerateOptions options = greedy();
  for (const int least : {0, 1, 5}) {
    options.min_tokens = least;
    EXPECT_EQ(run(script, options).text, "Hello") << least;
  }
  options.min_tokens = 8;
  const Generated result = run(script, options);
  EXPECT_EQ(result.tokens.size(), 8u);
  EXPECT_EQ(result.text.substr(0, 5), "Hello");
  EXPECT_EQ(result.reason, StopReason::stop_token);
  // Nor a stop string, of which nothing counts that was written before.
  options = greedy({"l", "He"});
  options.min_tokens = 3;
  EXPECT_EQ(run(script, options).text, "Hel");
  options.min_tokens = 4;
  EXPECT_EQ(run(script, options).text, "Hello");
  options = greedy({"ll"});
  options.min_tokens = 3;
  EXPECT_EQ(run(script, options).text, "Hello");
  options.max_tokens = 2;
  EXPECT_EQ(run(script, options).reason, StopReason::length);
  options.min_tokens = -1;
  EXPECT_THROW(run(script, options), Error);
}

// What the state has read must be the bytes of the text before the stop, however the tokens lie.
TEST(Generate, WithARewindTheTokensMayLieAcrossTheStop) {
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary += fmt::format("{} b'\\x{:02x}' 1\n", byte + 1, byte);
  }
  vocabulary += "257 'Hi.\\n' 4\n258 '\\nUser: x' 8\n259 '.\\n\\nUser:' 8\n260 'er: and' 7\n";
  vocabulary += "261 b'\\xbdz\\n' 3\n262 b'\\xa0\\n' 2\n263 b'\\xff\\n' 2\n264 '\\n\\n' 2\n";
  const Tokenizer tokenizer = Tokenizer::from_vocabulary(vocabulary, "test");
  const auto read_by = [&](const std::vector<Token>& tokens) {
    Script script(tokenizer, tokens);
    const Generated result = script.run_rewinding(greedy({"\n\nUser:"}));
    EXPECT_EQ(result.reason, StopReason::stop_text);
    return tokenizer.decode(script.fed);
  };
  const Token newline = 11, e4 = 0xe4 + 1, bd = 0xbd + 1;
  EXPECT_EQ(read_by({257, 258}), "Hi.");
  EXPECT_EQ(read_by({'H' + 1, 'i' + 1, 259}), "Hi.");
  EXPECT_EQ(read_by({257, newline, newline, 'U' + 1, 's' + 1, 260}), "Hi.\n");
  EXPECT_EQ(read_by({264, 264, 258}), "\n\n\n");
  EXPECT_EQ(read_by({257, 257, 258}), "Hi.\nHi.");
  EXPECT_EQ(read_by({258, 257, 258}), "\nUser: xHi.");
  // Characters that are split, broken off, or broken: the text has U+FFFD, the state the bytes.
  EXPECT_EQ(read_by({e4, bd, 262, 258}), "\xe4\xbd\xa0");
  EXPECT_EQ(read_by({e4, 261, 258}), "\xe4\xbdz");
  EXPECT_EQ(read_by({e4, bd, newline, 258}), "\xe4\xbd");
  EXPECT_EQ(read_by({e4, bd, 263, 258}), "\xe4\xbd\xff");
  EXPECT_EQ(read_by({258 - 1, 263, 258}), "Hi.\n\xff");
}

TEST(Generate, WithARewindAStopThatHasAReplacementCharacter) {
  Script script("ab\xff!");
  EXPECT_EQ(script.run_rewinding(greedy({"\ufffd!"})).text, "ab");
  EXPECT_EQ(script.fed, bytes_of("ab"));
}

TEST(Generate, TheHeldBackTailIsGivenOutAtTheEnd) {
  Script script("Hi.\n\nUse");
  Generated result = run(script, greedy({"\n\nUser:"}));
  EXPECT_EQ(result.text, "Hi.\n\nUse");
  EXPECT_EQ(result.reason, StopReason::stop_token);
  result = run(script, greedy({"\n\nUser:"}, 5));
  EXPECT_EQ(result.text, "Hi.\n\n");
  EXPECT_EQ(result.reason, StopReason::length);
}

TEST(Generate, CharactersAreGivenOutWhole) {
  Script script("a\xe4\xbd\xa0\xf0\x9f\x98\x80");
  std::vector<std::string> pieces;
  run(script, greedy(), &pieces);
  EXPECT_EQ(pieces, (std::vector<std::string>{"a", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80"}));
}

TEST(Generate, WhatIsNotUtf8IsReplaced) {
  Script script("a\xff\xe4\xbdz");
  const std::string replaced = "a\xef\xbf\xbd\xef\xbf\xbdz";
  EXPECT_EQ(run(script, greedy()).text, replaced);
  EXPECT_EQ(run(script, greedy({"zz"})).text, replaced);
}

TEST(Generate, ACharacterThatHasOnlyBegunIsLeftForTheTextThatGoesOn) {
  const std::string text = "a\xe4\xbd\xa0\xf0\x9f\x98\x80\xc3z\xff";
  const std::string whole = Script(text).run(greedy()).text;
  for (const std::vector<std::string>& stops :
       {std::vector<std::string>(), {"zz", "\U0001f600?"}}) {
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      Script first(text.substr(0, cut)), second(text.substr(cut));
      const Generated begun = first.run_rewinding(greedy(stops, int(cut)));
      EXPECT_EQ(begun.tokens.size(), cut);
      second.unfinished = unfinished_end(text.substr(0, cut));
      const Generated rest = second.run_rewinding(greedy(stops));
      EXPECT_EQ(begun.text + rest.text, whole) << cut;
      EXPECT_EQ(rest.tokens, bytes_of(text.substr(cut)));
    }
  }
}

// The character's beginning cannot be taken back; what came after it is.
TEST(Generate, WithARewindAStopThatBeginsWithTheUnfinishedCharacter) {
  Script script("\xa0!x");
  script.unfinished = "\xe4\xbd";
  const Generated result = script.run_rewinding(greedy({"\xe4\xbd\xa0!"}));
  EXPECT_EQ(result.text, "");
  EXPECT_EQ(result.reason, StopReason::stop_text);
  EXPECT_TRUE(script.fed.empty());
}

TEST(Generate, Cancel) {
  Script script("Hello");
  std::string seen;
  const Generated result = script.run(greedy({"lo"}), [&](std::string_view piece) {
    seen += piece;
    return seen.size() < 3;
  });
  // The first l is held back until the second shows that it begins no stop string.
  EXPECT_EQ(result.reason, StopReason::cancelled);
  EXPECT_EQ(result.text, "Hel");
  EXPECT_EQ(result.text, seen);
  EXPECT_EQ(script.fed, bytes_of("Hell"));
}

TEST(Generate, WithoutAReader) {
  Script script("Hello");
  EXPECT_EQ(script.run(greedy()).text, "Hello");
}

TEST(Generate, PenaltiesSeeTheGeneratedTokens) {
  Script script("aaaa");
  GenerateOptions options = greedy({}, 4);
  options.stop_tokens = {};
  options.sampling.presence = 60;  // more than the script's 50
  const Generated result = run(script, options);
  EXPECT_EQ(result.tokens, (std::vector<Token>{'a', 0, 1, 2}));
}

TEST(Generate, TheSameSeedGivesTheSameText) {
  Script script(std::string(100, 'a'));
  GenerateOptions options;
  options.max_tokens = 100;
  options.sampling.top_p = 1;
  options.sampling.temperature = 20;  // flat enough that many bytes come
  const std::vector<Token> tokens = script.run(options).tokens;
  EXPECT_EQ(script.run(options).tokens, tokens);
  options.sampling.seed = 1;
  EXPECT_NE(script.run(options).tokens, tokens);
}

TEST(Generate, BadOptions) {
  Script script("a");
  EXPECT_THROW(script.run(greedy({}, -1)), Error);
  EXPECT_THROW(script.run(greedy({""})), Error);
  GenerateOptions options = greedy();
  options.sampling.top_p = 2;
  EXPECT_THROW(script.run(options), Error);
  EXPECT_TRUE(script.fed.empty());
}

// An engine that must not be used.
class NoEngine : public Engine {
 public:
  using Engine::forward;
  void forward(std::span<const Sequence>) override { throw std::logic_error("forward"); }
  const Model& model() const override { throw std::logic_error("model"); }
  Device device() const override { return Device::cpu; }
  int threads() const override { return 1; }
  std::string backend() const override { return "none"; }
  size_t step_bytes(int) const override { return 0; }
  std::vector<PhaseTime> phase_times(std::span<const Sequence>) override { return {}; }
  double zero_share() const override { return -1; }
};

TEST(Generate, AStateWithoutLogitsIsAnError) {
  NoEngine engine;
  State state({1, 4, 1, 4}, 1);
  EXPECT_THROW(generate(engine, state, {}), Error);
}

TEST(Generate, ReasonsHaveNames) {
  EXPECT_STREQ(stop_reason_name(StopReason::length), "length");
  EXPECT_STREQ(stop_reason_name(StopReason::stop_token), "stop_token");
  EXPECT_STREQ(stop_reason_name(StopReason::stop_text), "stop_text");
  EXPECT_STREQ(stop_reason_name(StopReason::cancelled), "cancelled");
}

}  // namespace
}  // namespace anser
