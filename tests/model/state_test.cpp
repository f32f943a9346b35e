#include "anser/state.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <xxhash.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "anser/error.h"
#include "model/model_sketch.h"
#include "support/engines.h"
#include "support/temp_dir.h"
#include "support/writers.h"

namespace anser {
namespace {

using namespace support;

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_ERROR(words, ...)                                           \
  EXPECT_NE(error_of([&] { __VA_ARGS__; }).find(words), std::string::npos) \
      << error_of([&] { __VA_ARGS__; })

class StateTest : public testing::Test {
 protected:
  void SetUp() override {
    write_safetensors(dir_ / "m", random_model(kTinyShape));
    model_ = std::make_unique<Model>(Model::open(dir_ / "m"));
    engine_ = Engine::create(*model_, {.device = Device::cpu, .threads = 1});
    state_ = model_->initial_state();
    engine_->forward(state_, as_tokens(random_tokens(7, 20)));
  }
  TempDir dir_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  State state_;
};

TEST_F(StateTest, IsAValue) {
  State copy = state_;
  EXPECT_TRUE(copy == state_);
  copy.wkv(1, 1)[3] += 1;
  EXPECT_FALSE(copy == state_);
  EXPECT_EQ(state_.tokens(), 7u);
  EXPECT_EQ(state_.logits().size(), 20u);
  EXPECT_EQ(state_.data().size(), 2u * (2 * 32 + 2 * 16 * 16));
  EXPECT_EQ(state_.wkv(0, 1), state_.wkv(0) + 256);
}

TEST_F(StateTest, CopiesShareTheirNumbersUntilOneIsWrittenTo) {
  const State& state = state_;
  State copy = state_;
  EXPECT_EQ(std::as_const(copy).data().data(), state.data().data());
  const std::vector<float> before(state.data().begin(), state.data().end());
  engine_->forward(copy, as_tokens(random_tokens(3, 20)));
  EXPECT_NE(std::as_const(copy).data().data(), state.data().data());
  EXPECT_TRUE(std::ranges::equal(before, state.data()));
  const float* const own = std::as_const(copy).data().data();
  engine_->forward(copy, as_tokens(random_tokens(3, 20)));
  EXPECT_EQ(std::as_const(copy).data().data(), own);

  // Zeros that nobody has written to take no memory, copied or compared.
  const State fresh = model_->initial_state(), other = fresh;
  EXPECT_TRUE(fresh == other);
  EXPECT_TRUE(fresh.untouched() && other.untouched() && model_->initial_state().untouched());
}

// Forks that go on by themselves, while others still look at what they come from.
TEST_F(StateTest, CopiesMayBelongToDifferentThreads) {
  for (int round = 0; round < 20; ++round) {
    State from = state_;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t, copy = from]() mutable {
        const float sum = std::accumulate(std::as_const(copy).data().begin(),
                                          std::as_const(copy).data().end(), 0.0f);
        if (t % 2) copy.wkv(0)[0] = sum;
      });
    }
    from.wkv(0)[0] += 1;
    threads.clear();
    EXPECT_FALSE(from == state_);
  }
}

TEST_F(StateTest, ComesBackFromAFileBitForBit) {
  state_.save(dir_ / "s");
  EXPECT_TRUE(State::load(dir_ / "s") == state_);
  EXPECT_TRUE(model_->load_state(dir_ / "s") == state_);
  // The beginning, without logits, too.
  model_->initial_state().save(dir_ / "zero");
  EXPECT_TRUE(model_->load_state(dir_ / "zero") == model_->initial_state());
}

// docs/formats.md, offset by offset.
TEST_F(StateTest, FileIsAsDocumented) {
  const std::vector<std::byte> bytes = state_.serialize();
  const auto at = [&](size_t offset, auto value) {
    std::memcpy(&value, bytes.data() + offset, sizeof(value));
    return value;
  };
  EXPECT_EQ(std::memcmp(bytes.data(), "ANSERST\0", 8), 0);
  EXPECT_EQ(at(8, uint32_t()), 2u);
  EXPECT_EQ(at(12, uint32_t()), 0u);
  EXPECT_EQ(at(16, uint64_t()), model_->fingerprint());
  EXPECT_EQ(at(24, uint64_t()), 7u);
  EXPECT_EQ(at(32, uint32_t()), 2u);
  EXPECT_EQ(at(36, uint32_t()), 32u);
  EXPECT_EQ(at(40, uint32_t()), 2u);
  EXPECT_EQ(at(44, uint32_t()), 16u);
  EXPECT_EQ(at(48, uint64_t()), 20u);
  const uint64_t groups = at(56, uint64_t());
  EXPECT_GT(groups, 100u);
  EXPECT_EQ(at(64, uint64_t()), 0u);  // nothing is known of the text: the model has no vocabulary
  EXPECT_EQ(at(72, float()), state_.att_shift(0)[0]);
  const size_t payload = (state_.data().size() + 20) * 4;
  EXPECT_EQ(bytes.size(), 72 + payload + groups * 8 + 8);
  EXPECT_EQ(at(72 + payload, uint64_t()), state_.sketch()->groups()[0]);
  EXPECT_EQ(at(bytes.size() - 16, uint64_t()), state_.sketch()->groups().back());

  // Version 1, which older versions wrote: no groups, and no word of them.
  std::vector<std::byte> old(bytes.begin(), bytes.begin() + 56);
  old[8] = std::byte(1);
  old.insert(old.end(), bytes.begin() + 72, bytes.begin() + std::ptrdiff_t(72 + payload));
  const uint64_t checksum = XXH3_64bits(old.data(), old.size());
  const auto* end = reinterpret_cast<const std::byte*>(&checksum);
  old.insert(old.end(), end, end + 8);
  State loaded = State::deserialize(old, "old");
  EXPECT_TRUE(loaded == state_);
  EXPECT_FALSE(loaded.identity_known());
  model_->check_state(loaded, "old");
  EXPECT_EQ(loaded.serialize(), old);
  // Who goes on from it knows.
  engine_->forward(loaded, as_tokens({1}));
  engine_->forward(state_, as_tokens({1}));
  EXPECT_TRUE(loaded.identity_known());
  EXPECT_EQ(loaded.serialize(), state_.serialize());
}

TEST_F(StateTest, SaysWhoseItIsWhenItsModelIsGone) {
  state_.save(dir_ / "before");
  engine_.reset();
  model_.reset();
  state_.save(dir_ / "after");
  EXPECT_EQ(read_file(dir_ / "before"), read_file(dir_ / "after"));
}

TEST_F(StateTest, NumbersThatAreNoneAreNeitherSavedNorLoaded) {
  const std::vector<std::byte> bytes = state_.serialize();
  const auto patched = [&](size_t number, float value) {
    std::vector<std::byte> file = bytes;
    std::memcpy(file.data() + 72 + 4 * number, &value, 4);
    const uint64_t checksum = XXH3_64bits(file.data(), file.size() - 8);
    std::memcpy(file.data() + file.size() - 8, &checksum, 8);
    return file;
  };
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const size_t layer = 2 * 32 + 2 * 256;  // numbers
  EXPECT_ERROR("s holds NaN in layer 1, S of head 1",
               State::deserialize(patched(2 * layer - 1, kNan), "s"));
  EXPECT_ERROR("s holds infinity in layer 0, ffn_shift",
               State::deserialize(patched(32, -kInfinity), "s"));
  EXPECT_ERROR("infinity in layer 1, att_shift",
               State::deserialize(patched(layer, kInfinity), "s"));
  EXPECT_ERROR("NaN in the logit of token 3",
               State::deserialize(patched(2 * layer + 3, kNan), "s"));
  EXPECT_TRUE(State::deserialize(patched(5, 3.0e38f), "s").att_shift(0)[5] == 3.0e38f);
  state_.wkv(1)[7] = kNan;
  EXPECT_ERROR("cannot be saved: it holds NaN in layer 1, S of head 0", state_.save(dir_ / "s"));
}

// Which only a model with a vocabulary leaves in a state; this one has none.
TEST_F(StateTest, TheEndOfTheTextComesBackToo) {
  State state = state_;
  EXPECT_EQ(state.text_end(), "");
  const size_t before = state.serialize().size();
  for (const auto& [read, end] :
       {std::pair("a", "a"), std::pair("bc", "abc"), std::pair("", "abc"),
        std::pair("d\xe4\xbd", "abcd\xe4\xbd"), std::pair("123456789", "3456789")}) {
    state.read_text(read);
    EXPECT_EQ(state.text_end(), end);
    EXPECT_FALSE(state == state_);
    const std::vector<std::byte> bytes = state.serialize();
    EXPECT_TRUE(State::deserialize(bytes, "bytes") == state);
    // docs/formats.md
    ASSERT_EQ(bytes.size(), before);
    const auto* field = reinterpret_cast<const char*>(bytes.data()) + 64;
    EXPECT_EQ(std::string(field + 1, size_t(field[0])), end);
  }
  // Also of a state that does not know whose it is.
  state.belongs_to(nullptr);
  const State loaded = State::deserialize(state.serialize(), "bytes");
  EXPECT_TRUE(loaded == state);
  EXPECT_FALSE(loaded.identity_known());
}

TEST_F(StateTest, EveryFlippedByteAndEveryLengthIsNoticed) {
  state_.read_text("\xe4\xbd");
  const std::vector<std::byte> bytes = state_.serialize();
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> broken = bytes;
    broken[i] ^= std::byte(0x10);
    EXPECT_THROW(State::deserialize(broken, "broken"), Error) << "byte " << i;
  }
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_THROW(State::deserialize(std::span(bytes).first(n), "cut"), Error) << n << " bytes";
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back({});
  EXPECT_THROW(State::deserialize(longer, "longer"), Error);
}

TEST_F(StateTest, ErrorsSayWhatIsWrong) {
  write_file(dir_ / "text", "This is not a state.");
  EXPECT_ERROR("does not begin with ANSERST", State::load(dir_ / "text"));
  EXPECT_ERROR("No such file", State::load(dir_ / "absent"));

  state_.save(dir_ / "s");
  std::string bytes = read_file(dir_ / "s");
  write_file(dir_ / "cut", bytes.substr(0, bytes.size() / 2));
  EXPECT_ERROR("cut off", State::load(dir_ / "cut"));
  std::string damaged = bytes;
  damaged[100] ^= 1;
  write_file(dir_ / "damaged", damaged);
  EXPECT_ERROR("checksum", State::load(dir_ / "damaged"));
  std::string newer = bytes;
  newer[8] = 3;
  write_file(dir_ / "newer", newer);
  EXPECT_ERROR("version 3", State::load(dir_ / "newer"));
  std::string absurd = bytes;
  std::memset(absurd.data() + 32, 0xff, 16);
  write_file(dir_ / "absurd", absurd);
  EXPECT_ERROR("damaged", State::load(dir_ / "absurd"));
}

TEST_F(StateTest, OfAnotherModelIsRefused) {
  state_.save(dir_ / "s");
  write_safetensors(dir_ / "same-size", random_model(kTinyShape, 2));
  EXPECT_ERROR("another model of the same size",
               Model::open(dir_ / "same-size").load_state(dir_ / "s"));
  Shape wider = kTinyShape;
  wider.width = 64;
  write_safetensors(dir_ / "wider", random_model(wider));
  EXPECT_ERROR("layers of width 64", Model::open(dir_ / "wider").load_state(dir_ / "s"));
}

TEST_F(StateTest, AFailedSaveLeavesTheOldFile) {
  state_.save(dir_ / "s");
  const std::string before = read_file(dir_ / "s");
  // A folder that cannot be written to: the rename never happens. (/dev/full: a disk that is full.)
  EXPECT_ERROR("No such file", state_.save(dir_ / "no/such/folder/s"));
  EXPECT_ERROR("No space left", state_.save("/dev/full"));
  EXPECT_EQ(read_file(dir_ / "s"), before);
}

// A limit on file sizes is to write() what a disk is that fills halfway: first a part is written,
// then nothing more.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_ = {};
  sighandler_t handler_;
};

TEST_F(StateTest, ASaveThatStopsHalfwayLeavesTheOldFileAndNothingElse) {
  state_.save(dir_ / "s");
  const std::string before = read_file(dir_ / "s");
  {
    const FileSizeLimit limit(before.size() / 2);
    EXPECT_ERROR("File too large", state_.save(dir_ / "s"));
    EXPECT_ERROR("File too large", state_.save(dir_ / "other"));
  }
  EXPECT_EQ(read_file(dir_ / "s"), before);
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name == "m" || name == "s") << name << " was left behind";
  }
}

}  // namespace
}  // namespace anser
