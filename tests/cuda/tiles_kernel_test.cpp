// Products of some rows on tensor cores, whose weights become the activations' type in registers.
#include <algorithm>

#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

class TilesKernel : public KernelTest, public testing::WithParamInterface<Storage> {
 protected:
  // Weights as tensor cores read them: rounded once as codes times scale, once less the minimum.
  static twins::Matrix rounded(Format type, twins::Matrix W) {
    W.weights = twins::each_rounded(type, twins::each_rounded(type, W.weights));
    return W;
  }
  // bf16 activations go with bf16 weights only.
  Format type() const { return GetParam().format == Format::bf16 ? Format::bf16 : Format::f16; }
  // Sums of numbers of 11 or 8 bits.
  double most() const { return type() == Format::f16 ? 3e-3 : 3e-2; }
};

TEST_P(TilesKernel, SeveralMatricesEpiloguesAndTypesOfResults) {
  const Card cards[] = {{1, 48 * 1024}, {100, 48 * 1024}};
  for (const int rows : {1, 5, 8, 9, 33}) {
    for (const int least : {40, 333}) {
      const int cols = GetParam().inputs_from(least), pitch = padded_to_octets(cols);
      std::vector<float> x = normals(size_t(rows) * cols);
      const auto device_x = narrow(type(), x, cols, pitch);
      const TestMatrix a = matrix(GetParam(), 37, cols), b = matrix(GetParam(), 16, cols),
                       c = matrix(GetParam(), 24, cols);
      const std::vector<float> before = normals(size_t(rows) * 16);
      const auto y_a = poisoned(size_t(rows) * 37), y_b = upload(before);
      const DeviceArray<std::byte> y_c(stream_, size_t(rows) * 24 * 2);
      TilesArgs args;
      args.segments[0] = {a.device, device_x.data(), y_a.data(), Epilogue::tanh};
      args.segments[1] = {b.device, device_x.data(), y_b.data(), Epilogue::add};
      args.segments[2] = {.W = c.device,
                          .x = device_x.data(),
                          .y = y_c.data(),
                          .epilogue = Epilogue::relu_squared,
                          .halves = true,
                          .scale = 0.25f};
      args.count = 3;
      args.rows = rows;
      tiles(stream_.handle(), args, type(), cards[rows % 2]);
      const auto product = [&](const TestMatrix& W) {
        return twins::product(rounded(type(), W.twin), twins::inputs(x));
      };
      const std::string what = std::to_string(rows) + " rows of " + std::to_string(cols);
      expect_twin(y_a.read(), twins::each(Epilogue::tanh, product(a)), "tanh, " + what, most());
      expect_twin(y_b.read(), twins::sum(twins::inputs(before), product(b)), "add, " + what,
                  most());
      expect_twin(widened(type(), y_c.read()),
                  twins::each_rounded(
                      type(), twins::scaled(twins::each(Epilogue::relu_squared, product(c)), 0.25)),
                  "halves, " + what, most());
    }
  }
}

TEST_P(TilesKernel, LinesAddTheProductAndStoreTheShift) {
  for (const int rows : {2, 9, 40}) {
    const int F = GetParam().inputs_from(1100), D = 72, pitch = padded_to_octets(F);
    const TestMatrix W = matrix(GetParam(), D, F, true);
    const TestStep step = this->step(std::vector<int>(size_t(rows), 1), 2 * D);
    std::vector<float> h = normals(size_t(rows) * F);
    for (float& number : h) number = std::max(number, 0.0f) * 0.25f;
    const auto device_h = narrow(type(), h, F, pitch);
    const std::vector<float> x = normals(size_t(rows) * D), z = normals(size_t(rows) * D);
    const auto device_x = upload(x), device_z = upload(z);
    const auto partial = poisoned(size_t(share_floats(F, rows, D)));
    const DeviceArray<unsigned> arrived(stream_,
                                        std::vector<unsigned>(size_t(share_counters(rows, D)), 0));
    lines(stream_.handle(),
          {.W = W.device,
           .h = device_h.data(),
           .scale = 4,
           .x = device_x.data(),
           .rows = rows,
           .shares = {partial.data(), arrived.data()},
           .step = step.table,
           .shift_offset = D,
           .z = device_z.data()},
          type());
    const twins::Numbers product = twins::product(rounded(type(), W.twin), twins::inputs(h));
    expect_twin(device_x.read(), twins::sum(twins::inputs(x), twins::scaled(product, 4)),
                std::to_string(rows) + " rows", most());
    expect_shift(step, D, D, z);
    EXPECT_EQ(arrived.read(), std::vector<unsigned>(arrived.size(), 0u));
  }
}

INSTANTIATE_TEST_SUITE_P(Storages, TilesKernel, testing::ValuesIn(all_storages()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace anser
