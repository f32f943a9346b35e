// The values of sampling options: what is refused, and what the presets set.
#include <gtest/gtest.h>

#include <limits>

#include "anser/error.h"
#include "anser/sampling.h"

namespace anser {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(SamplingOptions, CheckNamesTheFirstBadValue) {
  const auto error_of = [](auto change) -> std::string {
    SamplingOptions options;
    change(options);
    try {
      Sampler sampler(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of([](auto&) {}), "");
  EXPECT_NE(error_of([](auto& o) { o.temperature = -1; }).find("temperature"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.temperature = kNan; }).find("temperature"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.temperature = kInfinity; }).find("temperature"),
            std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.top_p = 1.5f; }).find("top-p"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.top_p = -0.5f; }).find("top-p"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.top_k = -1; }).find("top-k"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.min_p = 1; }).find("min-p"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.presence = kInfinity; }).find("presence"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.frequency = kNan; }).find("frequency"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.penalty_decay = 1.1f; }).find("decay"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.banned = {1, -1}; }).find("banned"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.biases = {{-1, 1}}; }).find("biased"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.biases = {{1, 101}}; }).find("bias is"), std::string::npos);
  EXPECT_NE(error_of([](auto& o) { o.biases = {{1, kNan}}; }).find("bias is"), std::string::npos);
}

TEST(SamplingPreset, Values) {
  const SamplingOptions chat = sampling_preset("chat");
  EXPECT_EQ(chat.temperature, 1.0f);
  EXPECT_EQ(chat.top_p, 0.5f);
  EXPECT_EQ(chat.presence, 2.0f);
  EXPECT_EQ(chat.frequency, 0.1f);
  EXPECT_EQ(chat.penalty_decay, 0.99f);
  const SamplingOptions creative = sampling_preset("creative");
  EXPECT_EQ(creative.temperature, 0.6f);
  EXPECT_EQ(creative.top_p, 0.7f);
  EXPECT_EQ(creative.presence, 2.0f);
  EXPECT_EQ(creative.frequency, 0.2f);
  EXPECT_EQ(creative.penalty_decay, 0.99f);
  EXPECT_EQ(sampling_preset("greedy").temperature, 0.0f);
  EXPECT_EQ(sampling_preset("greedy").presence, 0.0f);
  EXPECT_THROW(sampling_preset("wild"), Error);
}

}  // namespace
}  // namespace anser
