// What the kernel tests share: the tables, random inputs, memory that ends where it must not be
// read.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "cpu/dispatch.h"
#include "model/dequantize.h"

namespace anser {

// Unit roundoff of fp32: one operation errs by at most this times its result.
constexpr double kUnit = 0x1p-24;

// Relative error of a sum of n products as the kernels form it, with regard to the sum of the
// products' magnitudes. A product passes through: its own rounding (where multiply-add is not
// fused), at most ceil(n / 16) additions to its lane's accumulator and 4 additions of lanes. Each
// multiplies it by 1 + d, |d| <= kUnit; the 1.01 covers the higher powers of so few factors.
inline double dot_error(int n) {
  return 1.01 * kUnit * ((n + 15) / 16 + 5);
}

// Tests run once for every table that this machine can run.
class KernelsTest : public testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& kernels() const { return *GetParam(); }

  std::vector<float> normals(size_t n, float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> x(n);
    for (float& v : x) v = normal(random_);
    return x;
  }
  std::vector<float> uniforms(size_t n, float from, float to) {
    std::uniform_real_distribution<float> uniform(from, to);
    std::vector<float> x(n);
    for (float& v : x) v = uniform(random_);
    return x;
  }
  int uniform_int(int from, int to) {
    return std::uniform_int_distribution<int>(from, to)(random_);
  }

  // Plain types: normal numbers. Blocks: all bits random but for the half-precision scales, which
  // are random numbers of either sign and magnitude 0.001 to 0.1.
  std::vector<std::byte> weights(DType type, size_t n);

  std::mt19937 random_{42};
};

inline std::vector<std::byte> KernelsTest::weights(DType type, size_t n) {
  std::vector<std::byte> bytes(dtype_bytes(type, n));
  const auto put_half = [&](size_t at, uint16_t half) { std::memcpy(&bytes[at], &half, 2); };
  std::vector<size_t> scales;  // offsets in a block
  switch (type) {
    case DType::f32: {
      const std::vector<float> x = normals(n);
      std::memcpy(bytes.data(), x.data(), bytes.size());
      return bytes;
    }
    case DType::f16:
      for (size_t i = 0; i < n; ++i) put_half(2 * i, f32_to_f16(normals(1)[0]));
      return bytes;
    case DType::bf16:
      for (size_t i = 0; i < n; ++i) put_half(2 * i, f32_to_bf16(normals(1)[0]));
      return bytes;
    case DType::q8_0:
    case DType::q4_0:
    case DType::q5_0:
      scales = {0};
      break;
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k:
      scales = {0, 2};
      break;
    case DType::q6_k:
      scales = {208};
      break;
    default:
      ADD_FAILURE() << "no matrix type";
  }
  for (std::byte& b : bytes) b = std::byte(random_() & 255);
  for (size_t block = 0; block < bytes.size(); block += block_bytes(type)) {
    for (size_t at : scales) {
      const float magnitude = uniforms(1, 0.001f, 0.1f)[0];
      put_half(block + at, f32_to_f16(random_() & 1 ? magnitude : -magnitude));
    }
  }
  return bytes;
}

// A copy of some elements that ends, to the byte, where a page begins that cannot be touched. The
// start is as unaligned as the length makes it.
template <class T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& values) : bytes_(values.size() * sizeof(T)) {
    constexpr size_t kPage = 65536;  // a multiple of the page size on any machine
    size_ = (bytes_ + kPage - 1) / kPage * kPage + kPage;
    base_ = static_cast<char*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) std::abort();
    if (mprotect(base_ + size_ - kPage, kPage, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(base_ + size_ - kPage - bytes_);
    if (bytes_ > 0) std::memcpy(data_, values.data(), bytes_);
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() const { return data_; }
  T& operator[](size_t i) const { return data_[i]; }
  std::vector<T> copy() const { return std::vector<T>(data_, data_ + bytes_ / sizeof(T)); }

 private:
  size_t bytes_, size_;
  char* base_;
  T* data_;
};

inline std::string table_name(const testing::TestParamInfo<const Kernels*>& info) {
  return info.param->name;
}

// Two arrays of floats, bit for bit (NaN equals NaN of the same bits).
inline testing::AssertionResult same_bits(const std::vector<float>& a,
                                          const std::vector<float>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " and " << b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      return testing::AssertionFailure() << "element " << i << ": " << a[i] << " and " << b[i];
    }
  }
  return testing::AssertionSuccess();
}

inline double epilogue_reference(Epilogue epilogue, double z, double y) {
  switch (epilogue) {
    case Epilogue::store:
      return z;
    case Epilogue::add:
      return y + z;
    case Epilogue::tanh:
      return std::tanh(z);
    case Epilogue::sigmoid:
      return 1 / (1 + std::exp(-z));
    case Epilogue::relu_squared:
      return z > 0 ? z * z : 0;
    case Epilogue::decay:
      return std::exp(-std::exp(-0.5) / (1 + std::exp(-z)));
  }
  return NAN;
}

constexpr Epilogue kEpilogues[] = {Epilogue::store,   Epilogue::add,          Epilogue::tanh,
                                   Epilogue::sigmoid, Epilogue::relu_squared, Epilogue::decay};

}  // namespace anser
