#include "server/openai/sentence_reader.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace anser::openai {
namespace {

class Listener final : public Reader {
 public:
  bool on_text(std::string_view piece, std::vector<TokenDetails>) override {
    text += piece;
    return !deaf;
  }
  void on_end(Finished finished) override { reason = finished.reason; }
  std::string text;
  bool deaf = false;
  std::optional<StopReason> reason;
};

// Gives the words out one by one, as long as they are wanted, and says why they ended.
std::shared_ptr<Listener> read(const std::vector<std::string>& words, int max_tokens,
                               const std::string& before = "", bool deaf = false) {
  const auto listener = std::make_shared<Listener>();
  listener->deaf = deaf;
  SentenceReader reader(listener, before, max_tokens);
  Finished finished;
  finished.reason = StopReason::length;
  for (const std::string& word : words) {
    if (reader.on_text(word, {})) continue;
    finished.reason = StopReason::cancelled;
    break;
  }
  reader.on_end(std::move(finished));
  return listener;
}

TEST(SentenceReader, EndsInTheLastThird) {
  const auto text = read({"A", " goose", ".", " It", " was", " big", ".", " It"}, 9);
  EXPECT_EQ(text->text, "A goose. It was big.");
  EXPECT_EQ(text->reason, StopReason::length);
}

TEST(SentenceReader, ATextWithoutAnEndIsWhole) {
  const auto text = read({"A", " goose", " that", " was"}, 4);
  EXPECT_EQ(text->text, "A goose that was");
  EXPECT_EQ(text->reason, StopReason::length);
}

TEST(SentenceReader, SpeechThatThePromptHasBegunGoesOn) {
  EXPECT_EQ(read({"Geese", ".", "\"", " He"}, 3, "He said, \"")->text, "Geese.\"");
  EXPECT_EQ(read({"Geese", ".", "\"", " He"}, 3)->text, "Geese.");
}

TEST(SentenceReader, WhoWantsNoMoreHasCancelled) {
  EXPECT_EQ(read({"Yes."}, 1, "", true)->reason, StopReason::cancelled);
}

}  // namespace
}  // namespace anser::openai
