// Matrix products on tensor cores: every way of storing weights, both types of activations, every
// epilogue, any number of rows.
#include <algorithm>

#include "base/half.h"

#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

constexpr Card kCard = {3, 48 * 1024};

// How weights are stored, and what they become.
struct Case {
  Storage storage;
  Format type;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Storage& storage : all_storages()) {
    for (const Format type : {Format::f16, Format::bf16}) cases.push_back({storage, type});
  }
  return cases;
}

class TilesKernel : public KernelTest, public testing::WithParamInterface<Case> {
 protected:
  Format type() const { return GetParam().type; }

  // The weights as tensor cores see them: rounded in one known way, so no tolerance grows by it.
  twins::Matrix as_read(const TestMatrix& W) const {
    twins::Matrix rounded = W.twin;
    for (twins::Number& weight : rounded.weights) {
      const float x = float(weight.value);
      weight = type() == Format::f16 ? f16_to_f32(f32_to_f16(x)) : bf16_to_f32(f32_to_bf16(x));
    }
    return rounded;
  }
  // Rows of 16-bit numbers, filled up with zeros to whole octets; `x` becomes what they are.
  DeviceArray<uint16_t> upload_halves(std::vector<float>& x, int width) {
    const std::vector<uint16_t> bits = halves(type(), x);
    const size_t padded = size_t(padded_to_octets(width)), rows = x.size() / size_t(width);
    std::vector<uint16_t> lines(rows * padded);
    for (size_t row = 0; row < rows; ++row) {
      std::copy_n(bits.data() + row * size_t(width), width, lines.data() + row * padded);
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(bits.data());
    x = widened(type(), {bytes, bytes + 2 * bits.size()});
    return {stream_, lines};
  }
  // The part of a padded array of halves that is not padding, which must be zero.
  std::vector<float> read_halves(const DeviceArray<uint16_t>& from, int width) {
    const std::vector<uint16_t> bits = from.read();
    const auto* bytes = reinterpret_cast<const std::byte*>(bits.data());
    const std::vector<float> lines = widened(type(), {bytes, bytes + 2 * bits.size()});
    const size_t padded = size_t(padded_to_octets(width));
    std::vector<float> x;
    for (size_t at = 0; at < lines.size(); ++at) {
      if (at % padded < size_t(width)) {
        x.push_back(lines[at]);
      } else {
        EXPECT_EQ(lines[at], 0) << "padding";
      }
    }
    return x;
  }
  // Tensor cores cut bits off where they add, rather than round: twice the error.
  static twins::Numbers product(const twins::Matrix& W, const std::vector<float>& x) {
    twins::Numbers y = twins::product(W, twins::inputs(x));
    for (twins::Number& number : y) number.deviation *= 2;
    return y;
  }
  double most() const { return type() == Format::f16 ? 1e-3 : 8e-3; }
};

TEST_P(TilesKernel, SeveralMatricesOfOddSizes) {
  const Epilogue epilogues[] = {Epilogue::store, Epilogue::tanh, Epilogue::sigmoid,
                                Epilogue::relu_squared};
  // Rows of one, two and four columns of tiles, and of two groups of them.
  for (const int rows : {1, 7, 13, 30, 45}) {
    std::vector<TestMatrix> matrices;
    std::vector<std::vector<float>> inputs;
    std::vector<DeviceArray<uint16_t>> device_inputs, half_outputs;
    std::vector<DeviceArray<float>> outputs;
    TilesArgs args;
    args.count = 4;
    args.rows = rows;
    for (int s = 0; s < args.count; ++s) {
      // Fewer inputs than a unit of 64, more, and more than four units, whose parts add up.
      const Storage& storage = s == 2 ? Storage{Format::f16} : GetParam().storage;
      const int cols = storage.inputs_from(s == 3 ? 330 : 37 + 60 * s), height = 7 + 30 * s;
      matrices.push_back(matrix(storage, height, cols));
      inputs.push_back(normals(size_t(rows) * cols));
      device_inputs.push_back(upload_halves(inputs.back(), cols));
      const bool as_halves = s % 2 == 1;
      if (as_halves) {
        half_outputs.emplace_back(stream_, size_t(rows * padded_to_octets(height)));
      } else {
        outputs.push_back(poisoned(size_t(rows) * height));
      }
      void* y = as_halves ? static_cast<void*>(half_outputs.back().data()) : outputs.back().data();
      args.segments[s] = {
          matrices[s].device, device_inputs[s].data(), y, epilogues[s], as_halves, 0.25f};
    }
    tiles(stream_.handle(), args, type(), kCard);
    for (int s = 0; s < args.count; ++s) {
      const std::string what = "matrix " + std::to_string(s) + ", rows " + std::to_string(rows);
      const twins::Numbers y = twins::each(epilogues[s], product(as_read(matrices[s]), inputs[s]));
      if (s % 2 == 1) {
        expect_twin(read_halves(half_outputs[s / 2], matrices[s].device.rows),
                    twins::each_rounded(type(), twins::scaled(y, 0.25)), what, most());
      } else {
        expect_twin(outputs[s / 2].read(), y, what);
      }
    }
  }
}

// Neither other rows nor how outputs are divided among blocks change a bit.
TEST_P(TilesKernel, RowsDoNotDependOnTheirCompany) {
  const int cols = GetParam().storage.inputs_from(200), height = 150, rows = 40;
  const TestMatrix W = matrix(GetParam().storage, height, cols);
  std::vector<float> x = normals(size_t(rows) * cols);
  const auto device_x = upload_halves(x, cols);
  const auto run = [&](int first, int count, int processors) {
    const auto y = upload(std::vector<float>(size_t(count) * height, 1));
    TilesArgs args;
    const auto* from = device_x.data() + first * padded_to_octets(cols);
    args.segments[0] = {W.device, from, y.data(), Epilogue::add};
    args.count = 1;
    args.rows = count;
    tiles(stream_.handle(), args, type(), {processors, kCard.shared_bytes});
    return y.read();
  };
  const std::vector<float> together = run(0, rows, 1);
  EXPECT_EQ(run(0, rows, 2), together);
  EXPECT_EQ(run(0, rows, 100), together);
  for (const auto& [first, count] : {std::pair(3, 1), std::pair(20, 11), std::pair(39, 1)}) {
    EXPECT_EQ(run(first, count, 100),
              std::vector<float>(together.begin() + first * height,
                                 together.begin() + (first + count) * height))
        << "rows " << first << " to " << first + count;
  }
}

// W lies transposed, and its sums are shared between blocks.
TEST_P(TilesKernel, LinesAddTheProductAndStoreTheShift) {
  struct Size {
    int ffn, width;
    std::vector<int> runs;
  };
  for (const Size& size :
       {Size{1100, 72, {1, 3}}, Size{90, 37, {20, 1, 12}}, Size{2300, 136, {12}}}) {
    const int F = GetParam().storage.inputs_from(size.ffn), D = size.width;
    const TestMatrix W = matrix(GetParam().storage, D, F, true);
    const TestStep step = this->step(size.runs, 2 * D);
    const int rows = step.rows();
    std::vector<float> h = normals(size_t(rows) * F);
    const auto device_h = upload_halves(h, F);
    const std::vector<float> x = normals(size_t(rows) * D), z = normals(size_t(rows) * D);
    const auto device_x = upload(x), device_z = upload(z);
    const auto partial = poisoned(size_t(share_floats(F, rows, D)));
    const DeviceArray<unsigned> arrived(stream_,
                                        std::vector<unsigned>(size_t(share_counters(rows, D)), 0u));
    const LinesArgs args = {.W = W.device,
                            .h = device_h.data(),
                            .scale = 4,
                            .x = device_x.data(),
                            .rows = rows,
                            .shares = {partial.data(), arrived.data()},
                            .step = step.table,
                            .shift_offset = D,
                            .z = device_z.data()};
    lines(stream_.handle(), args, type());
    const twins::Numbers expected = twins::scaled(product(as_read(W), h), 4);
    const std::string what = std::to_string(rows) + " rows of " + std::to_string(F);
    const std::vector<float> once = device_x.read();
    expect_twin(once, twins::sum(twins::inputs(x), expected), what);
    expect_shift(step, D, D, z);
    // The counters are ready for the next layer, which is what the second call finds.
    lines(stream_.handle(), args, type());
    expect_twin(device_x.read(), twins::sum(twins::inputs(once), expected), "again, " + what);

    // One row alone.
    const auto alone = upload({x.end() - D, x.end()});
    LinesArgs last = args;
    last.h = device_h.data() + (rows - 1) * padded_to_octets(F);
    last.x = alone.data();
    last.rows = 1;
    last.step = {};
    lines(stream_.handle(), last, type());
    EXPECT_EQ(alone.read(), std::vector<float>(once.end() - D, once.end())) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TilesKernel, testing::ValuesIn(all_cases()), [](const auto& info) {
  return info.param.storage.name() + (info.param.type == Format::f16 ? "_as_f16" : "_as_bf16");
});

}  // namespace
}  // namespace anser
