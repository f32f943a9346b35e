// What kernel tests share: random inputs, arrays and matrices on the device with what they mean to
// a twin, a step's tables, and the comparison. They talk to the device through cuda/runtime.h and
// the launchers only, so the same tests run on the emulator (test_cuda) and on a GPU (test_gpu).
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cuda/kernels.h"
#include "cuda/runtime.h"
#include "twins.h"

namespace anser {

// Device memory of `count` elements, and some behind them that nobody may write. Every byte is
// poisoned: 0xff.. is a NaN in every float type, so what a kernel leaves out is seen.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(cuda::Stream& stream, size_t count)
      : stream_(&stream), count_(count), buffer_((count + kGuard) * sizeof(T)) {
    const std::vector<unsigned char> poison(buffer_.bytes(), 0xff);
    stream.upload(buffer_.data(), poison.data(), poison.size());
    stream.wait();
  }
  DeviceArray(cuda::Stream& stream, const std::vector<T>& values)
      : DeviceArray(stream, values.size()) {
    stream.upload(buffer_.data(), values.data(), values.size() * sizeof(T));
    stream.wait();
  }

  T* data() const { return buffer_.as<T>(); }
  size_t size() const { return count_; }
  // After all work so far. Fails the test where the guard was written.
  std::vector<T> read() const {
    std::vector<T> values(count_ + kGuard);
    stream_->download(values.data(), buffer_.data(), values.size() * sizeof(T));
    stream_->wait();
    std::vector<unsigned char> guard(kGuard * sizeof(T));
    std::memcpy(guard.data(), values.data() + count_, guard.size());
    EXPECT_EQ(guard, std::vector<unsigned char>(guard.size(), 0xff)) << "written past the end";
    values.resize(count_);
    return values;
  }

 private:
  static constexpr size_t kGuard = 64;
  cuda::Stream* stream_ = nullptr;
  size_t count_ = 0;
  cuda::Buffer buffer_;
};

// How a matrix is stored.
struct Storage {
  cuda::Format format;
  bool minima = false;
  int group = 32;
  std::string name() const;
  // The smallest number of inputs that is not below `cols` and that this can store.
  int inputs_from(int cols) const;
};
const std::vector<Storage>& all_storages();

// A random matrix on the device, laid out as device_matrix.h says, and what it means.
struct TestMatrix {
  cuda::DeviceMatrix device;
  twins::Matrix twin;
  cuda::Buffer codes, scales, minima;
};

// Runs of the given lengths, one after the other, each with a state of its own.
struct TestStep {
  std::vector<int> tokens;
  std::vector<twins::Run> runs;
  std::vector<std::vector<float>> states;  // before the step
  cuda::StepTable table;
  std::vector<DeviceArray<float>> device_states;
  cuda::Buffer row_entries, run_entries;

  int rows() const { return int(tokens.size()); }
  // Of each run, `width` numbers from `offset` on of what its state was before.
  std::vector<std::vector<float>> part(int64_t offset, int width) const;
};

class KernelTest : public testing::Test {
 protected:
  std::vector<float> normals(size_t n, float scale = 1, float mean = 0);
  std::vector<float> uniforms(size_t n, float from, float to);
  // Numbers of a 16-bit type, and what they are.
  std::vector<uint16_t> halves(cuda::Format type, const std::vector<float>& x);
  DeviceArray<float> upload(const std::vector<float>& x) { return {stream_, x}; }
  // Rows of `width` in a 16-bit type, zeros behind each up to `pitch`. x becomes what they are.
  DeviceArray<uint16_t> narrow(cuda::Format type, std::vector<float>& x, int width, int pitch);
  DeviceArray<float> poisoned(size_t n) { return {stream_, n}; }

  TestMatrix matrix(const Storage& storage, int rows, int cols, bool transposed = false);
  TestStep step(const std::vector<int>& run_lengths, int64_t state_floats, int vocab = 1);
  twins::Norm norm(int width, double eps = 1e-5);
  // On the device; kept until the test ends.
  const float* keep(const std::vector<float>& x);
  cuda::NormWeights device(const twins::Norm& norm);

  // Every number within three deviations of the twin's. The deviations themselves must stay small,
  // or the comparison would say nothing: `most` of the largest number.
  static void expect_twin(const std::vector<float>& actual, const twins::Numbers& expected,
                          const std::string& what, double most = 1e-4);
  // What a run's state has for its next token: the last rows of z.
  void expect_shift(const TestStep& step, int64_t offset, int width, const std::vector<float>& z);

  cuda::Stream stream_;
  std::mt19937 random_{42};

 private:
  std::vector<DeviceArray<float>> kept_;
};

// Numbers of a type, as floats; f32 as they are.
std::vector<float> widened(cuda::Format type, const std::vector<std::byte>& bytes);
constexpr size_t bytes_of(cuda::Format type) {
  return type == cuda::Format::f32 ? 4 : 2;
}

}  // namespace anser
