// Kernels without a matrix product: embedding, inputs of GEMMs, activations, widened weights.
#include <algorithm>
#include <cmath>

#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

constexpr Format kPlain[] = {Format::f32, Format::f16, Format::bf16};

class RowsKernel : public KernelTest {
 protected:
  // Of an output in the type that GEMMs read.
  static std::vector<float> read(const DeviceArray<std::byte>& array, Format type) {
    return widened(type, array.read());
  }
  // Rounding to 16 bits is the largest error there.
  static double most(Format type) { return type == Format::f32 ? 1e-4 : 1e-2; }
};

TEST_F(RowsKernel, Embed) {
  for (const Storage& storage : all_storages()) {
    const int vocab = 11, width = storage.inputs_from(300);
    const TestMatrix table = matrix(storage, vocab, width);
    const TestStep step = this->step({3, 1, 2}, 8, vocab);
    const twins::Norm norm = this->norm(width);
    const auto x = poisoned(size_t(step.rows()) * width);
    embed(stream_.handle(), {step.table, table.device, device(norm), x.data()});
    expect_twin(x.read(), twins::embed(table.twin, step.tokens, norm), storage.name());
  }
}

// A table that holds what the norm makes of it.
TEST_F(RowsKernel, EmbedWithoutANorm) {
  for (const Storage& storage : all_storages()) {
    const int vocab = 11, width = storage.inputs_from(300);
    const TestMatrix table = matrix(storage, vocab, width);
    const TestStep step = this->step({3, 1}, 8, vocab);
    const auto x = poisoned(size_t(step.rows()) * width);
    embed(stream_.handle(), {step.table, table.device, {nullptr, nullptr, 1e-5f}, x.data()});
    twins::Numbers rows;
    for (const int token : step.tokens) {
      const auto line = table.twin.weights.begin() + int64_t(token) * width;
      rows.insert(rows.end(), line, line + width);
    }
    expect_twin(x.read(), rows, storage.name());
  }
}

TEST_F(RowsKernel, MixForSeveralMatrices) {
  for (const Format type : kPlain) {
    for (const int width : {37, 300, 8192}) {  // the last asks for more shared memory
      const TestStep step =
          this->step(width > 1000 ? std::vector<int>{2} : std::vector<int>{4, 1, 12}, 2 * width);
      const std::vector<float> x = normals(size_t(step.rows()) * width, 2, 0.5f);
      const twins::Norm norm = this->norm(width);
      const auto device_x = upload(x), z = poisoned(x.size());
      MixArgs args = {.x = device_x.data(),
                      .width = width,
                      .norm = device(norm),
                      .step = step.table,
                      .shift_offset = width,
                      .mix = {},
                      .to = {},
                      .count = 6,
                      .coded = 0,
                      .type = type,
                      .row_of = nullptr,
                      .rows = step.rows(),
                      .z = z.data()};
      std::vector<std::vector<float>> mixes;
      std::vector<DeviceArray<std::byte>> to;
      for (int m = 0; m < args.count; ++m) {
        mixes.push_back(uniforms(size_t(width), 0, 1));
        to.emplace_back(stream_, x.size() * bytes_of(type));
        args.mix[m] = keep(mixes[m]);
        args.to[m] = to[m].data();
      }
      mix(stream_.handle(), args);
      const twins::Numbers twin_z = twins::layer_norm(twins::inputs(x), width, norm);
      const twins::Numbers before =
          twins::previous(twin_z, width, step.runs, step.part(width, width));
      expect_twin(z.read(), twin_z, "z");
      for (int m = 0; m < args.count; ++m) {
        expect_twin(read(to[m], type),
                    twins::each_rounded(type, twins::shift(twin_z, before, mixes[m])),
                    "mix " + std::to_string(m), most(type));
      }
    }
  }
}

TEST_F(RowsKernel, MixOfChosenRowsIsTheNorm) {
  const int width = 75;
  const std::vector<int> row_of = {4, 1, 1};
  const std::vector<float> x = normals(size_t(5) * width);
  const twins::Norm norm = this->norm(width);
  const DeviceArray<int> rows(stream_, row_of);
  const auto device_x = upload(x);
  for (const Format type : kPlain) {
    const DeviceArray<std::byte> to(stream_, row_of.size() * width * bytes_of(type));
    mix(stream_.handle(), {.x = device_x.data(),
                           .width = width,
                           .norm = device(norm),
                           .step = {},
                           .shift_offset = 0,
                           .mix = {nullptr},
                           .to = {to.data()},
                           .count = 1,
                           .coded = 0,
                           .type = type,
                           .row_of = rows.data(),
                           .rows = int(row_of.size()),
                           .z = nullptr});
    std::vector<float> chosen;
    for (const int row : row_of) {
      chosen.insert(chosen.end(), x.begin() + row * width, x.begin() + (row + 1) * width);
    }
    expect_twin(read(to, type),
                twins::each_rounded(type, twins::layer_norm(twins::inputs(chosen), width, norm)),
                "rows", most(type));
  }
}

TEST_F(RowsKernel, Convert) {
  const std::vector<float> x = normals(1003, 3);
  const auto from = upload(x);
  for (const Format type : kPlain) {
    const DeviceArray<std::byte> to(stream_, x.size() * bytes_of(type));
    convert(stream_.handle(), {from.data(), to.data(), int64_t(x.size()), type});
    expect_twin(read(to, type), twins::each_rounded(type, twins::inputs(x)), "numbers", most(type));
  }
}

TEST_F(RowsKernel, WidenKeepsTheOrderOfLines) {
  for (const Storage& storage : all_storages()) {
    for (const bool transposed : {false, true}) {
      for (const Format type : kPlain) {
        const int rows = 29, cols = storage.inputs_from(36);
        const TestMatrix W = matrix(storage, rows, cols, transposed);
        const DeviceArray<std::byte> to(stream_, size_t(rows) * cols * bytes_of(type));
        widen(stream_.handle(), {W.device, to.data(), type});
        twins::Numbers expected(W.twin.weights.size());
        for (int o = 0; o < rows; ++o) {
          for (int i = 0; i < cols; ++i) {
            expected[transposed ? size_t(i) * rows + o : size_t(o) * cols + i] =
                twins::rounded(type, W.twin.weights[size_t(o) * cols + i]);
          }
        }
        expect_twin(read(to, type), expected, storage.name(), most(type));
      }
    }
  }
}

TEST_F(RowsKernel, ReluSquaredStoresTheShift) {
  const int width = 37, ffn = 100, padded = 104;
  for (const Format type : kPlain) {
    const TestStep step = this->step({2, 1, 3}, 3 * width);
    const std::vector<float> key = normals(size_t(step.rows()) * ffn, 4);
    const std::vector<float> z = normals(size_t(step.rows()) * width);
    const auto device_key = upload(key), device_z = upload(z);
    const DeviceArray<std::byte> to(stream_, size_t(step.rows() * padded) * bytes_of(type));
    const float scale = 0x1p-6f;
    relu_squared(stream_.handle(), {.key = device_key.data(),
                                    .to = to.data(),
                                    .rows = step.rows(),
                                    .ffn = ffn,
                                    .type = type,
                                    .scale = scale,
                                    .step = step.table,
                                    .width = width,
                                    .shift_offset = width,
                                    .z = device_z.data()});
    twins::Numbers h;
    for (int row = 0; row < step.rows(); ++row) {
      const std::vector<float> line(key.begin() + row * ffn, key.begin() + (row + 1) * ffn);
      const twins::Numbers squares =
          twins::scaled(twins::each(Epilogue::relu_squared, twins::inputs(line)), scale);
      h.insert(h.end(), squares.begin(), squares.end());
      h.resize(h.size() + padded - ffn);  // zeros
    }
    expect_twin(read(to, type), twins::each_rounded(type, h), "h", most(type));
    expect_shift(step, width, width, z);
  }
}

TEST_F(RowsKernel, DeliverSaysWhatIsNotFinite) {
  const int rows = 4, vocab = 2500;
  std::vector<float> logits = normals(size_t(rows) * vocab);
  logits[2 * vocab + 2499] = INFINITY;
  logits[3 * vocab + 7] = NAN;
  const auto from = upload(logits), first = poisoned(vocab), last = poisoned(vocab);
  const DeviceArray<float*> to(stream_,
                               std::vector<float*>{first.data(), nullptr, nullptr, last.data()});
  const DeviceArray<int> not_finite(stream_, std::vector<int>(rows, 0));
  deliver(stream_.handle(), {from.data(), to.data(), not_finite.data(), rows, vocab});
  EXPECT_EQ(not_finite.read(), (std::vector<int>{0, 0, 1, 1}));
  EXPECT_EQ(first.read(), std::vector<float>(logits.begin(), logits.begin() + vocab));
  EXPECT_TRUE(std::isnan(last.read()[7]));
  EXPECT_EQ(last.read()[8], logits[3 * vocab + 8]);
}

TEST_F(RowsKernel, ReadingAndNoiseOfTheMeasurements) {
  const int count = 4096;
  const DeviceArray<uint16_t> noise(stream_, size_t(count));
  const auto sum = upload({0.0f});
  fill_noise(stream_.handle(), {noise.data(), count, 5});
  read_all(stream_.handle(), {noise.data(), 2 * count, sum.data()});
  const std::vector<uint16_t> bits = noise.read();
  std::vector<std::byte> bytes(bits.size() * 2);
  std::memcpy(bytes.data(), bits.data(), bytes.size());
  double total = 0, squares = 0;
  for (const float x : widened(Format::f16, bytes)) {
    EXPECT_LE(std::fabs(x), 1);
    total += x;
    squares += x * x;
  }
  // Evenly from -1 to 1: deviations of the two means are 0.009 and 0.0047.
  EXPECT_LT(std::fabs(total / count), 0.05);
  EXPECT_LT(std::fabs(squares / count - 1.0 / 3), 0.025);
}

}  // namespace
}  // namespace anser
