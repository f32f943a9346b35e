// Matrix products of few rows: every way of storing weights, every source, every epilogue.
#include <algorithm>

#include "kernels_support.h"

namespace anser {
namespace {

using namespace cuda;

// Blocks that go on from output to output, and the shared memory that every device has.
constexpr Card kCard = {2, 48 * 1024};

class GemvKernel : public KernelTest, public testing::WithParamInterface<Storage> {};

// Lengths of the runs of steps of 1 to 9 rows.
const std::vector<std::vector<int>> kSteps = {{1}, {2}, {1, 1, 1}, {1, 3}, {5}, {2, 1, 5, 1}};

TEST_P(GemvKernel, PlainInputsAreAddedToWhatIsThere) {
  // Odd numbers of outputs and of octets; a lane has none, one or two.
  for (const int least : {5, 37, 264, 520}) {
    const int cols = GetParam().inputs_from(least), outputs = 19;
    for (const int rows : {1, 2, 3, 6, 9}) {
      const TestMatrix W = matrix(GetParam(), outputs, cols);
      const std::vector<float> x = normals(size_t(rows) * cols),
                               y = normals(size_t(rows) * outputs);
      const auto device_x = upload(x), device_y = upload(y);
      GemvArgs args;
      args.segments[0] = {W.device, nullptr, device_y.data(), Epilogue::add};
      args.count = 1;
      args.x = device_x.data();
      args.rows = rows;
      args.width = cols;
      gemv(stream_.handle(), args, kCard);
      expect_twin(device_y.read(),
                  twins::sum(twins::inputs(y), twins::product(W.twin, twins::inputs(x))),
                  std::to_string(rows) + " rows of " + std::to_string(cols));
    }
  }
}

TEST_P(GemvKernel, ShiftedInputsGoToSeveralMatrices) {
  const int width = GetParam().inputs_from(76);
  const int64_t state_floats = 3 * width, shift_offset = width;
  const Epilogue epilogues[] = {Epilogue::store, Epilogue::tanh, Epilogue::sigmoid,
                                Epilogue::relu_squared};
  for (const std::vector<int>& runs : kSteps) {
    const TestStep step = this->step(runs, state_floats);
    const int rows = step.rows();
    const std::vector<float> x = normals(size_t(rows) * width);
    const auto device_x = upload(x), z = poisoned(x.size());
    const twins::Norm norm = this->norm(width);
    GemvArgs args;
    args.count = 4;
    args.source = Source::shift;
    args.x = device_x.data();
    args.rows = rows;
    args.width = width;
    args.norm = device(norm);
    args.step = step.table;
    args.shift_offset = shift_offset;
    args.z = z.data();
    std::vector<TestMatrix> matrices;
    std::vector<std::vector<float>> mixes;
    std::vector<DeviceArray<float>> outputs;
    for (int s = 0; s < args.count; ++s) {
      const int width_out = 7 + 16 * s;
      // Formats may differ within a group: the low-rank matrices of quantised models are plain.
      matrices.push_back(matrix(s == 1 ? Storage{Format::f16} : GetParam(), width_out, width));
      mixes.push_back(uniforms(size_t(width), 0, 1));
      outputs.push_back(poisoned(size_t(rows) * width_out));
      args.segments[s] = {matrices[s].device, keep(mixes[s]), outputs[s].data(), epilogues[s]};
    }
    gemv(stream_.handle(), args, kCard);

    const twins::Numbers twin_z = twins::layer_norm(twins::inputs(x), width, norm);
    const twins::Numbers before =
        twins::previous(twin_z, width, step.runs, step.part(shift_offset, width));
    const std::string what = std::to_string(runs.size()) + " runs of " + std::to_string(rows);
    expect_twin(z.read(), twin_z, "z, " + what);
    for (int s = 0; s < args.count; ++s) {
      const twins::Numbers y =
          twins::product(matrices[s].twin, twins::shift(twin_z, before, mixes[s]));
      expect_twin(outputs[s].read(), twins::each(epilogues[s], y),
                  "matrix " + std::to_string(s) + ", " + what);
    }
    for (size_t run = 0; run < step.runs.size(); ++run) {
      EXPECT_EQ(step.device_states[run].read(), step.states[run]) << "it only reads the state";
    }
  }
}

TEST_P(GemvKernel, NormedInputsOfChosenRows) {
  const int width = GetParam().inputs_from(100), outputs = 50;
  const std::vector<int> row_of = {6, 0, 3, 3, 5};
  const TestMatrix W = matrix(GetParam(), outputs, width);
  const twins::Norm norm = this->norm(width);
  const std::vector<float> x = normals(size_t(7) * width, 3, 1);
  const auto device_x = upload(x), y = poisoned(row_of.size() * outputs);
  const DeviceArray<int> device_rows(stream_, row_of);
  GemvArgs args;
  args.segments[0] = {W.device, nullptr, y.data()};
  args.count = 1;
  args.source = Source::norm;
  args.x = device_x.data();
  args.row_of = device_rows.data();
  args.rows = int(row_of.size());
  args.width = width;
  args.norm = device(norm);
  gemv(stream_.handle(), args, kCard);
  std::vector<float> chosen;
  for (const int row : row_of) {
    chosen.insert(chosen.end(), x.begin() + row * width, x.begin() + (row + 1) * width);
  }
  expect_twin(y.read(),
              twins::product(W.twin, twins::layer_norm(twins::inputs(chosen), width, norm)),
              "logits");
}

// Widths of large models: more shared memory than a block has without asking for it.
TEST_P(GemvKernel, AsMuchSharedMemoryAsTheDeviceHas) {
  std::string why;
  const DeviceInfo device_info = usable_devices(why).front();
  const Card card = {device_info.processors, device_info.shared_bytes};
  for (const int width : {2560, 4096}) {
    const int outputs = 21;
    const TestMatrix W = matrix(GetParam(), outputs, width);
    const TestStep step = this->step({1, 4}, width);
    const std::vector<float> x = normals(size_t(step.rows()) * width), mix = uniforms(width, 0, 1);
    const twins::Norm norm = this->norm(width);
    const auto device_x = upload(x), z = poisoned(x.size());
    const auto y = poisoned(size_t(step.rows()) * outputs);
    GemvArgs args;
    args.segments[0] = {W.device, keep(mix), y.data()};
    args.count = 1;
    args.source = Source::shift;
    args.x = device_x.data();
    args.rows = step.rows();
    args.width = width;
    args.norm = device(norm);
    args.step = step.table;
    args.z = z.data();
    gemv(stream_.handle(), args, card);
    const twins::Numbers twin_z = twins::layer_norm(twins::inputs(x), width, norm);
    const twins::Numbers before = twins::previous(twin_z, width, step.runs, step.part(0, width));
    expect_twin(y.read(), twins::product(W.twin, twins::shift(twin_z, before, mix)),
                "width " + std::to_string(width));
  }
}

// How many rows and outputs a block takes depends on the card; what they give does not.
TEST_P(GemvKernel, RowsDoNotDependOnTheirCompany) {
  const int width = GetParam().inputs_from(264), outputs = 21, rows = 7;
  const TestMatrix W = matrix(GetParam(), outputs, width);
  const std::vector<float> x = normals(size_t(rows) * width);
  const auto device_x = upload(x);
  const auto run = [&](int first, int count, Card card) {
    const auto y = poisoned(size_t(count) * outputs);
    GemvArgs args;
    args.segments[0] = {W.device, nullptr, y.data()};
    args.count = 1;
    args.x = device_x.data() + size_t(first) * width;
    args.rows = count;
    args.width = width;
    gemv(stream_.handle(), args, card);
    return y.read();
  };
  const std::vector<float> together = run(0, rows, kCard);
  const size_t row_bytes = size_t(width + 7) / 8 * 8 * sizeof(float);
  EXPECT_EQ(run(0, rows, {2, 2 * row_bytes}), together);  // two rows a block
  EXPECT_EQ(run(0, rows, {1, row_bytes}), together);      // one
  for (int row = 0; row < rows; ++row) {
    EXPECT_EQ(run(row, 1, {100, 48 * 1024}),
              std::vector<float>(together.begin() + row * outputs,
                                 together.begin() + (row + 1) * outputs))
        << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Storages, GemvKernel, testing::ValuesIn(all_storages()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace anser
