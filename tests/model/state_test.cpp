#include "anser/state.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "anser/error.h"
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
  EXPECT_EQ(at(8, uint32_t()), 1u);
  EXPECT_EQ(at(12, uint32_t()), 0u);
  EXPECT_EQ(at(16, uint64_t()), model_->fingerprint());
  EXPECT_EQ(at(24, uint64_t()), 7u);
  EXPECT_EQ(at(32, uint32_t()), 2u);
  EXPECT_EQ(at(36, uint32_t()), 32u);
  EXPECT_EQ(at(40, uint32_t()), 2u);
  EXPECT_EQ(at(44, uint32_t()), 16u);
  EXPECT_EQ(at(48, uint64_t()), 20u);
  EXPECT_EQ(at(56, float()), state_.att_shift(0)[0]);
  EXPECT_EQ(bytes.size(), 56 + (state_.data().size() + 20) * 4 + 8);
}

// Which only a model with a vocabulary leaves in a state; this one has none.
TEST_F(StateTest, TheEndOfTheTextComesBackToo) {
  State state = state_;
  EXPECT_EQ(state.text_end(), "");
  const size_t before = state.serialize().size();
  for (const auto& [read, end] :
       {std::pair("a", "a"), std::pair("bc", "abc"), std::pair("", "abc"),
        std::pair("d\xe4\xbd", "cd\xe4\xbd"), std::pair("123456789", "6789")}) {
    state.read_text(read);
    EXPECT_EQ(state.text_end(), end);
    EXPECT_FALSE(state == state_);
    const std::vector<std::byte> bytes = state.serialize();
    EXPECT_TRUE(State::deserialize(bytes, "bytes") == state);
    // docs/formats.md
    ASSERT_EQ(bytes.size(), before + 8);
    const auto* field = reinterpret_cast<const char*>(bytes.data()) + bytes.size() - 16;
    EXPECT_EQ(std::string(field + 1, size_t(field[0])), end);
  }
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
  newer[8] = 2;
  write_file(dir_ / "newer", newer);
  EXPECT_ERROR("version 2", State::load(dir_ / "newer"));
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

std::vector<Tensor> time_state_tensors() {
  std::vector<Tensor> tensors;
  for (int l = 0; l < 2; ++l) {
    Tensor tensor{"blocks." + std::to_string(l) + ".att.time_state", {2, 16, 16}, {}};
    for (int i = 0; i < 2 * 16 * 16; ++i) tensor.values.push_back((i + l) * 0x1p-9);
    tensors.push_back(tensor);
  }
  return tensors;
}

// Stored with the key index first; ours is value first.
void expect_time_states(const State& state) {
  for (int l = 0; l < 2; ++l) {
    for (int h = 0; h < 2; ++h) {
      for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 16; ++j) {
          EXPECT_EQ(state.wkv(l, h)[i * 16 + j], (h * 256 + j * 16 + i + l) * 0x1p-9f);
        }
      }
    }
  }
  EXPECT_EQ(state.tokens(), 0u);
  EXPECT_TRUE(state.logits().empty());
}

TEST_F(StateTest, TrainedInitialStatesLoadFromTheirOwnFiles) {
  write_safetensors_raw(dir_ / "t.safetensors", time_state_tensors(), Float::f32);
  write_pth_raw(dir_ / "t.pth", time_state_tensors(), {.type = Float::f32});
  expect_time_states(model_->load_state(dir_ / "t.safetensors"));
  expect_time_states(model_->load_state(dir_ / "t.pth"));

  auto one = time_state_tensors();
  one.pop_back();
  write_safetensors_raw(dir_ / "one", one, Float::f32);
  EXPECT_ERROR("2 tensors", model_->load_state(dir_ / "one"));
  auto shape = time_state_tensors();
  shape[1].shape = {4, 8, 16};
  write_safetensors_raw(dir_ / "shape", shape, Float::f32);
  EXPECT_ERROR("expected shape [2, 16, 16], found [4, 8, 16]", model_->load_state(dir_ / "shape"));
  EXPECT_ERROR("2 tensors", model_->load_state(dir_ / "m"));
}

TEST_F(StateTest, TrainedInitialStatesInsideAModel) {
  RandomModel model = random_model(kTinyShape);
  for (const Tensor& tensor : time_state_tensors()) model.tensors.push_back(tensor);
  write_pth(dir_ / "m.pth", model, {.type = Float::f32});
  expect_time_states(Model::open(dir_ / "m.pth").initial_state());
  // web-rwkv's converter has them the other way round already.
  for (Tensor& tensor : model.tensors) {
    if (tensor.name.ends_with("time_state")) tensor = transposed(tensor);
  }
  write_safetensors(dir_ / "m.st", model, {.web_rwkv = true});
  expect_time_states(Model::open(dir_ / "m.st").initial_state());
}

}  // namespace
}  // namespace anser
