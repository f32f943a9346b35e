// The channel mix's second half, which reads only what is multiplied by something other than zero.
#include <algorithm>

#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

class ContractKernel : public KernelTest, public testing::WithParamInterface<Storage> {
 protected:
  // h as it is: squares, nine in ten of them zero.
  std::vector<float> hidden(size_t n, unsigned one_in = 10) {
    std::vector<float> h = normals(n);
    for (float& x : h) x = random_() % one_in == 0 ? x * x : 0;
    return h;
  }
};

TEST_P(ContractKernel, AddsTheProductAndStoresTheShift) {
  struct Case {
    int ffn, width;
    std::vector<int> runs;
    unsigned one_in;
  };
  // Lines that fill no share of 1024, columns that fill no block of 64; all zero; none zero.
  const Case cases[] = {{1200, 72, {1}, 10},        {96, 37, {2}, 10},
                        {2100, 200, {1, 1, 1}, 10}, {1056, 40, {1, 3, 1}, 10},
                        {16384, 70, {1, 1}, 10},    {320, 130, {4, 4, 1}, 1},
                        {320, 64, {2}, 1000000}};
  for (const Case& c : cases) {
    const int F = GetParam().inputs_from(c.ffn), D = c.width;
    const TestMatrix value = matrix(GetParam(), D, F, true);
    const TestStep step = this->step(c.runs, 2 * D);
    const int rows = step.rows();
    const std::vector<float> h = hidden(size_t(rows) * F, c.one_in);
    const std::vector<float> x = normals(size_t(rows) * D), z = normals(size_t(rows) * D);
    const auto device_h = upload(h), device_x = upload(x), device_z = upload(z);
    const auto partial = poisoned(size_t(share_floats(F, rows, D)));
    const DeviceArray<unsigned> arrived(stream_,
                                        std::vector<unsigned>(size_t(share_counters(rows, D)), 0u));
    const DeviceArray<unsigned long long> nonzero(stream_, std::vector<unsigned long long>{3});
    const ContractArgs args = {.value = value.device,
                               .h = device_h.data(),
                               .x = device_x.data(),
                               .rows = rows,
                               .shares = {partial.data(), arrived.data()},
                               .nonzero = nonzero.data(),
                               .step = step.table,
                               .shift_offset = D,
                               .z = device_z.data()};
    contract(stream_.handle(), args);
    const twins::Numbers product = twins::product(value.twin, twins::inputs(h));
    const std::string what = std::to_string(rows) + " rows of " + std::to_string(F);
    const std::vector<float> once = device_x.read();
    expect_twin(once, twins::sum(twins::inputs(x), product), what);
    expect_shift(step, D, D, z);
    EXPECT_EQ(nonzero.read()[0], 3 + F * size_t(rows) - size_t(std::count(h.begin(), h.end(), 0)));
    // The counters are ready for the next layer, which is what the second call finds.
    EXPECT_EQ(arrived.read(), std::vector<unsigned>(arrived.size(), 0u));
    contract(stream_.handle(), args);
    expect_twin(device_x.read(), twins::sum(twins::inputs(once), product), "again, " + what);
  }
}

TEST_P(ContractKernel, RowsDoNotDependOnTheirCompany) {
  const int F = GetParam().inputs_from(1100), D = 72, rows = 6;
  const TestMatrix value = matrix(GetParam(), D, F, true);
  const std::vector<float> h = hidden(size_t(rows) * F), x = normals(size_t(rows) * D);
  const auto run = [&](int first, int count) {
    const TestStep step = this->step(std::vector<int>(size_t(count), 1), 2 * D);
    const auto device_h = upload({h.begin() + first * F, h.begin() + (first + count) * F});
    const auto device_x = upload({x.begin() + first * D, x.begin() + (first + count) * D});
    const auto z = upload(normals(size_t(count) * D));
    const auto partial = poisoned(size_t(share_floats(F, count, D)));
    const DeviceArray<unsigned> arrived(
        stream_, std::vector<unsigned>(size_t(share_counters(count, D)), 0u));
    const DeviceArray<unsigned long long> nonzero(stream_, std::vector<unsigned long long>{0});
    contract(stream_.handle(), {.value = value.device,
                                .h = device_h.data(),
                                .x = device_x.data(),
                                .rows = count,
                                .shares = {partial.data(), arrived.data()},
                                .nonzero = nonzero.data(),
                                .step = step.table,
                                .shift_offset = D,
                                .z = z.data()});
    return device_x.read();
  };
  const std::vector<float> together = run(0, rows);
  for (int row = 0; row < rows; ++row) {
    EXPECT_EQ(run(row, 1),
              std::vector<float>(together.begin() + row * D, together.begin() + (row + 1) * D))
        << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Storages, ContractKernel, testing::ValuesIn(all_storages()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace anser
