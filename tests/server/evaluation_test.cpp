// What evaluation harnesses and trainers ask of a server: logprobs of prompts, tokens, a tokenizer.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/logprobs.h"
#include "reference/rwkv7_reference.h"
#include "server/service_fixture.h"
#include "text/chat/builtin_templates.h"
#include "text/chat/jinja_template.h"

namespace anser {
namespace {

using openai::Json;

constexpr char kCompletions[] = "/v1/completions", kChat[] = "/v1/chat/completions";

class EvaluationTest : public ServiceTest {
 protected:
  std::vector<Token> tokens_of(const std::string& text) const {
    std::vector<Token> tokens = {0};
    for (const char c : text) tokens.push_back(uint8_t(c) + 1);
    return tokens;
  }
  // log p of tokens[i + 1] after those before, by the model in double precision.
  static std::vector<double> reference_logprobs(const std::vector<Token>& tokens) {
    const reference::Model model =
        support::random_model({.vocab = 300, .width = 64, .layers = 2, .ffn = 64}).reference();
    reference::State state(model);
    std::vector<double> logprobs;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const std::vector<double> logits = reference::step(model, state, tokens[i]);
      double sum = 0;
      for (const double logit : logits) sum += std::exp(logit);
      logprobs.push_back(logits[size_t(tokens[i + 1])] - std::log(sum));
    }
    return logprobs;
  }
  // As lm-eval does of an answer to an echo with one token more.
  static double sum_of(const Json& choice, size_t context) {
    const Json& logprobs = choice["logprobs"]["token_logprobs"];
    double sum = 0;
    for (size_t i = context; i + 1 < logprobs.size(); ++i) sum += logprobs[i].get<double>();
    return sum;
  }
  // A stream's pieces put together as a whole answer is; of the one choice.
  Json joined(const char* path, Json body) {
    body["stream"] = true;
    Json whole;
    for (const Json& event : stream(path, body.dump())) {
      for (const Json* part : {&event, event["choices"].empty() ? nullptr : &event["choices"][0]}) {
        if (part == nullptr) continue;
        for (const auto& [name, value] : part->items()) {
          if (name == "choices" || value.is_null()) continue;
          if (value.is_array() && whole.contains(name)) {
            whole[name].insert(whole[name].end(), value.begin(), value.end());
          } else {
            whole[name] = value;
          }
        }
      }
    }
    return whole;
  }
};

TEST_F(EvaluationTest, AHarnessSumsTheLogprobsOfTheContinuation) {
  start();
  const std::string context = "the goose", continuation = " and the fox";
  const std::vector<double> expected = reference_logprobs(tokens_of(context + continuation));
  double wanted = 0;
  for (size_t i = context.size(); i < expected.size(); ++i) wanted += expected[i];
  // As a text, whose token 0 is nobody's business, and as tokens with it. What is written may be
  // the end of the text.
  std::vector<Token> tokens = tokens_of(context + continuation);
  for (const auto& [prompt, before] :
       {std::pair(Json(context + continuation), context.size()),
        std::pair(Json(tokens), context.size() + 1),
        std::pair(Json::array({Json(tokens)}), context.size() + 1)}) {
    for (const char* bias : {"{}", R"({"0": 100})"}) {
      Json body = {{"prompt", prompt}, {"echo", true},     {"logprobs", 1},
                   {"max_tokens", 1},  {"temperature", 0}, {"seed", 1234}};
      body["logit_bias"] = Json::parse(bias);
      const Json choice = post(kCompletions, body.dump())["choices"][0];
      EXPECT_NEAR(sum_of(choice, before), wanted, 1e-3) << body;
      for (const auto& [name, list] : choice["logprobs"].items()) {
        EXPECT_EQ(list.size(), before + continuation.size() + 1) << name;
      }
      body["max_tokens"] = 0;
      const Json alone = post(kCompletions, body.dump())["choices"][0]["logprobs"];
      EXPECT_EQ(alone["tokens"].size(), before + continuation.size());
      EXPECT_TRUE(alone["token_logprobs"][0].is_null());
      EXPECT_TRUE(alone["top_logprobs"][0].is_null());
    }
  }
}

// The second of two answers may end before the first one has read what they share.
TEST_F(EvaluationTest, EveryAnswerHasTheWholeEcho) {
  SchedulerOptions scheduling;
  scheduling.piece_seconds = 1e-9;  // pieces of 16 tokens
  start({}, scheduling);
  const std::string prompt(2000, 'q');
  post(kCompletions, Json({{"prompt", prompt}, {"max_tokens", 1}}).dump());  // it is known now
  const Json choices = post(kCompletions, Json({{"prompt", prompt},
                                                {"max_tokens", 0},
                                                {"n", 3},
                                                {"echo", true},
                                                {"logprobs", 0},
                                                {"prompt_logprobs", 0}})
                                              .dump())["choices"];
  ASSERT_EQ(choices.size(), 3u);
  for (const Json& choice : choices) {
    EXPECT_EQ(choice["logprobs"]["tokens"].size(), 2000u);
    EXPECT_EQ(choice["prompt_logprobs"].size(), 2001u);
  }
}

TEST_F(EvaluationTest, PromptLogprobsAreVllms) {
  start();
  const std::vector<Token> tokens = tokens_of("abc");
  std::vector<float> logits(4 * 300);
  State state = model_->initial_state();
  const Sequence all{&state, tokens, LogitsFor::all, logits.data()};
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  alone->forward(std::span(&all, 1));
  const Json body = {{"prompt", "abc"}, {"prompt_logprobs", 2}, {"max_tokens", 2},
                     {"logprobs", 4},   {"echo", true},         {"logit_bias", {{"0", -100}}}};
  const Json whole = post(kCompletions, body.dump())["choices"][0];
  const Json& list = whole["prompt_logprobs"];
  ASSERT_EQ(list.size(), 4u);
  EXPECT_TRUE(list[0].is_null());
  for (size_t i = 1; i < 4; ++i) {
    const TokenDetails details =
        token_details(std::span(logits).subspan((i - 1) * 300, 300), tokens[i], 2);
    const Json& own = list[i][fmt::format("{}", tokens[i])];
    EXPECT_EQ(own["logprob"].get<float>(), details.drawn.logprob);
    EXPECT_EQ(own["rank"], details.rank);
    EXPECT_EQ(own["decoded_token"], std::string(1, char(tokens[i] - 1)));
    for (int rank = 1; rank <= 2; ++rank) {
      const TokenLogprob& top = details.top[size_t(rank) - 1];
      const Json& other = list[i][fmt::format("{}", top.token)];
      EXPECT_EQ(other["logprob"].get<float>(), top.logprob);
      EXPECT_EQ(other["rank"], rank);
    }
    EXPECT_LE(list[i].size(), 3u);
    // Those without a text of their own have one name.
    const size_t top = whole["logprobs"]["top_logprobs"][i - 1].size();
    EXPECT_EQ(top == 0, i == 1);
    EXPECT_LE(top, 4u);
  }
  // In a stream they come once, and without an echo, too.
  EXPECT_EQ(joined(kCompletions, body)["prompt_logprobs"], list);
  const Json bare = {{"prompt", "abc"}, {"prompt_logprobs", 2}, {"max_tokens", 0}};
  EXPECT_EQ(post(kCompletions, bare.dump())["choices"][0]["prompt_logprobs"], list);
  EXPECT_EQ(joined(kCompletions, bare)["prompt_logprobs"], list);
  EXPECT_EQ(post(kCompletions, R"({"prompt": "a", "prompt_logprobs": 21})", 400)["error"]["param"],
            "prompt_logprobs");
}

TEST_F(EvaluationTest, AChatsPromptLogprobsStandBesideItsChoices) {
  start();
  const Json body = {{"messages", {{{"role", "user"}, {"content", "hi"}}}},
                     {"prompt_logprobs", 1},
                     {"return_token_ids", true},
                     {"n", 2},
                     {"logit_bias", {{"0", -100}}},
                     {"max_tokens", 3}};
  const Json whole = post(kChat, body.dump());
  const Json tokens = post("/tokenize", Json({{"messages", body["messages"]}}).dump())["tokens"];
  EXPECT_EQ(whole["prompt_token_ids"], tokens);
  EXPECT_EQ(whole["prompt_logprobs"].size(), tokens.size());
  EXPECT_EQ(whole["usage"]["prompt_tokens"], tokens.size());
  for (const Json& choice : whole["choices"]) {
    EXPECT_EQ(choice["token_ids"].size(), 3u);
    EXPECT_FALSE(choice.contains("prompt_logprobs"));
  }
  Json one = body;
  one["n"] = 1;
  one["seed"] = 3;
  const Json alone = post(kChat, one.dump()), streamed = joined(kChat, one);
  EXPECT_EQ(streamed["prompt_logprobs"], alone["prompt_logprobs"]);
  EXPECT_EQ(streamed["prompt_token_ids"], tokens);
  EXPECT_EQ(streamed["token_ids"], alone["choices"][0]["token_ids"]);
}

TEST_F(EvaluationTest, TokenIdsAreThoseThatWereDrawn) {
  start();
  Json body = {{"prompt", {"ab", "c"}},    {"n", 2},
               {"max_tokens", 12},         {"seed", 3},
               {"return_token_ids", true}, {"logit_bias", {{"0", -100}}}};
  const Json whole = post(kCompletions, body.dump());
  for (size_t i = 0; i < 4; ++i) {
    const Json& choice = whole["choices"][i];
    EXPECT_EQ(choice["prompt_token_ids"], i < 2 ? Json({0, 98, 99}) : Json({0, 100}));
    ASSERT_EQ(choice["token_ids"].size(), 12u);
    EXPECT_TRUE(choice["logprobs"].is_null());
  }
  EXPECT_NE(whole["choices"][0]["token_ids"], whole["choices"][1]["token_ids"]);
  const auto alone = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
  State state = model_->initial_state();
  alone->forward(state, tokens_of("ab"));
  GenerateOptions options{.max_tokens = 12};
  options.sampling.seed = 3;
  options.sampling.banned = {0};
  EXPECT_EQ(whole["choices"][0]["token_ids"], Json(generate(*alone, state, options).tokens));
  // The token that ends a text, and those of a stop string, are among them.
  body = {
      {"prompt", "ab"}, {"return_token_ids", true}, {"logit_bias", {{"0", 100}}}, {"logprobs", 0}};
  Json choice = post(kCompletions, body.dump())["choices"][0];
  EXPECT_EQ(choice["token_ids"], Json::array({0}));
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), 1u);
  body = {
      {"prompt", "ab"}, {"return_token_ids", true}, {"logit_bias", {{"121", 100}}}, {"stop", "xx"}};
  choice = post(kCompletions, body.dump())["choices"][0];
  EXPECT_EQ(choice["text"], "");
  EXPECT_EQ(choice["token_ids"], Json({121, 121}));
  const Json streamed = joined(kCompletions, body);
  EXPECT_EQ(streamed["token_ids"], choice["token_ids"]);
  EXPECT_EQ(streamed["prompt_token_ids"], Json({0, 98, 99}));
  // Where nobody asks there are none.
  EXPECT_FALSE(post(kCompletions, R"({"prompt": "a", "max_tokens": 1})")["choices"][0].contains(
      "token_ids"));
}

TEST_F(EvaluationTest, AResponseHasNoPlaceForThem) {
  start();
  for (const char* field : {"prompt_logprobs", "return_token_ids"}) {
    Json body = {{"input", "a"}};
    body[field] = field[0] == 'p' ? Json(1) : Json(true);
    EXPECT_EQ(post("/v1/responses", body.dump(), 400)["error"]["param"], field);
  }
}

TEST_F(EvaluationTest, TokenizeHasVllmsShape) {
  ServiceOptions options;
  options.limits.max_prompt_tokens = 5000;
  start(std::move(options));
  const Json tokens = {0, 'h' + 1, 'i' + 1};
  Json answer = post("/tokenize", R"({"model": "goose", "prompt": "hi"})");
  EXPECT_EQ(
      answer,
      Json({{"count", 3}, {"max_model_len", 5000}, {"tokens", tokens}, {"token_strs", nullptr}}));
  EXPECT_EQ(get("/v1/models")["data"][0]["max_model_len"], 5000);
  answer = post("/tokenize", R"({"prompt": "hi", "add_special_tokens": false,
                                 "return_token_strs": true})");
  EXPECT_EQ(answer["tokens"], Json({'h' + 1, 'i' + 1}));
  EXPECT_EQ(answer["token_strs"], Json({"h", "i"}));
  // It is what a completion reads.
  EXPECT_EQ(post(kCompletions, R"({"prompt": "hi", "max_tokens": 0})")["usage"]["prompt_tokens"],
            3);
  EXPECT_EQ(post("/detokenize", Json({{"model", "goose"}, {"tokens", tokens}}).dump()),
            Json({{"content", "hi"}, {"prompt", "hi"}}));
  // llama.cpp's shape stays what it was.
  EXPECT_EQ(post("/tokenize", R"({"content": "hi"})"), Json({{"tokens", {'h' + 1, 'i' + 1}}}));
  EXPECT_EQ(post("/tokenize", R"({"content": "a", "prompt": "b"})", 400)["error"]["param"],
            "prompt");
  EXPECT_EQ(post("/tokenize", R"({"prompt": 3})", 400)["error"]["param"], "prompt");
  EXPECT_EQ(post("/tokenize", "{}", 400)["error"]["param"], "content");
  const std::string broken = R"({"tokens": [196, 196]})";
  EXPECT_EQ(post("/detokenize", broken)["prompt"], "\ufffd\ufffd");
}

TEST_F(EvaluationTest, MessagesAreTokenizedAsAChatReadsThem) {
  start();
  const auto text = [&](const std::string& more) {
    const Json answer = post("/tokenize", R"({"messages": [{"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"}], )" +
                                              more + "}");
    EXPECT_EQ(answer["count"], answer["tokens"].size());
    const Json back = post("/detokenize", Json({{"tokens", answer["tokens"]}}).dump());
    return (answer["tokens"][0] == 0 ? "0 " : "") + back["prompt"].get<std::string>();
  };
  EXPECT_EQ(text(R"("add_generation_prompt": true)"), "User: q\n\nAssistant: a\n\nAssistant:");
  EXPECT_EQ(text(R"("add_generation_prompt": false, "continue_final_message": true)"),
            "User: q\n\nAssistant: a");
  EXPECT_EQ(text(R"("add_generation_prompt": false, "continue_final_message": false)"),
            "User: q\n\nAssistant: a\n\n");
  EXPECT_EQ(text(R"("add_special_tokens": true)"), "0 User: q\n\nAssistant: a");
  EXPECT_EQ(text(R"("add_generation_prompt": true, "chat_template_kwargs":
                     {"enable_thinking": true})"),
            "User: q\n\nAssistant: a\n\nAssistant: <think");
}

TEST_F(EvaluationTest, ATokenizerMayBeHadFromAfar) {
  start();
  const Json info = get("/tokenizer_info");
  EXPECT_TRUE(info["tokenizer_class"].is_string());
  const std::string end = info["eos_token"];
  EXPECT_EQ(info["bos_token"], end);
  EXPECT_EQ(info["chat_template"], jinja_template(builtin_template("chat")));
  // Its name is the token that has no text.
  const auto encode = [&](const std::string& text, bool begins = false) {
    return post("/tokenize",
                Json({{"prompt", text}, {"add_special_tokens", begins}}).dump())["tokens"];
  };
  EXPECT_EQ(encode(end), Json::array({0}));
  EXPECT_EQ(encode(end, true), Json({0, 0}));
  EXPECT_EQ(encode(""), Json::array());
  EXPECT_GT(encode(end + "x").size(), 2u) << "within a text it is only text";
  EXPECT_EQ(post("/tokenize", R"({"prompt": "a", "return_token_strs": true})")["token_strs"],
            Json({end, "a"}));
}

}  // namespace
}  // namespace anser
