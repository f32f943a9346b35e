#include "kernels_support.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"

namespace anser {

using namespace cuda;

std::string Storage::name() const {
  const char* names[] = {"f32", "f16", "bf16", "bytes", "nibbles"};
  return std::string(names[int(format)]) + (minima ? "_minima" : "") +
         (is_plain(format) ? "" : "_" + std::to_string(group));
}

int Storage::inputs_from(int cols) const {
  return is_plain(format) ? cols : (cols + 31) / 32 * 32;
}

const std::vector<Storage>& all_storages() {
  static const std::vector<Storage> all = {
      {Format::f32},     {Format::f16},           {Format::bf16},
      {Format::bytes},   {Format::bytes, true},   {Format::bytes, false, 16},
      {Format::nibbles}, {Format::nibbles, true},
  };
  return all;
}

std::vector<std::vector<float>> TestStep::part(int64_t offset, int width) const {
  std::vector<std::vector<float>> parts;
  for (const std::vector<float>& state : states) {
    parts.emplace_back(state.begin() + offset, state.begin() + offset + width);
  }
  return parts;
}

std::vector<float> KernelTest::normals(size_t n, float scale, float mean) {
  std::normal_distribution<float> normal(mean, scale);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random_);
  return x;
}

std::vector<float> KernelTest::uniforms(size_t n, float from, float to) {
  std::uniform_real_distribution<float> uniform(from, to);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random_);
  return x;
}

std::vector<uint16_t> KernelTest::halves(Format type, const std::vector<float>& x) {
  std::vector<uint16_t> bits(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    bits[i] = type == Format::f16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
  }
  return bits;
}

DeviceArray<uint16_t> KernelTest::narrow(Format type, std::vector<float>& x, int width, int pitch) {
  const std::vector<uint16_t> bits = halves(type, x);
  std::vector<uint16_t> rows(x.size() / size_t(width) * size_t(pitch), 0);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = type == Format::f16 ? f16_to_f32(bits[i]) : bf16_to_f32(bits[i]);
    rows[i / size_t(width) * size_t(pitch) + i % size_t(width)] = bits[i];
  }
  return {stream_, rows};
}

TestMatrix KernelTest::matrix(const Storage& storage, int rows, int cols, bool transposed) {
  TestMatrix m;
  DeviceMatrix& d = m.device;
  d.format = storage.format;
  d.transposed = transposed;
  d.rows = rows;
  d.cols = cols;
  d.group = storage.group;
  const int lines = transposed ? cols : rows, width = transposed ? rows : cols;
  d.stride = (width + 7) / 8 * 8;
  m.twin = {rows, cols, twins::Numbers(size_t(rows) * cols)};

  const size_t count = size_t(lines) * d.stride;
  const auto line_of = [&](int o, int i) { return transposed ? i : o; };
  const auto column_of = [&](int o, int i) { return transposed ? o : i; };
  const auto put = [&](Buffer& to, const void* from, size_t bytes) {
    to = Buffer(bytes);
    stream_.upload(to.data(), from, bytes);
    stream_.wait();
    return to.data();
  };
  // Products of a row with inputs of about 1 are then about 1.
  const float scale = 1 / std::sqrt(float(cols));
  const std::vector<float> drawn = normals(size_t(rows) * cols, scale);
  if (is_plain(d.format)) {
    std::vector<float> wide(count, 0.0f);
    for (int o = 0; o < rows; ++o) {
      for (int i = 0; i < cols; ++i) {
        wide[size_t(line_of(o, i)) * d.stride + column_of(o, i)] = drawn[size_t(o) * cols + i];
      }
    }
    std::vector<float> exact = wide;
    if (d.format == Format::f32) {
      d.codes = put(m.codes, wide.data(), count * 4);
    } else {
      const std::vector<uint16_t> bits = halves(d.format, wide);
      for (size_t i = 0; i < count; ++i) {
        exact[i] = d.format == Format::f16 ? f16_to_f32(bits[i]) : bf16_to_f32(bits[i]);
      }
      d.codes = put(m.codes, bits.data(), count * 2);
    }
    for (int o = 0; o < rows; ++o) {
      for (int i = 0; i < cols; ++i) {
        m.twin.weights[size_t(o) * cols + i] =
            exact[size_t(line_of(o, i)) * d.stride + column_of(o, i)];
      }
    }
    return m;
  }

  const bool bytes = d.format == Format::bytes;
  const int least = bytes ? -127 : 0, most = bytes ? 127 : 15;
  std::uniform_int_distribution<int> any_code(least, most);
  // Groups lie along the inputs: beside each other in a line, or over several lines.
  const size_t groups =
      transposed ? size_t(lines / d.group) * d.stride : size_t(lines) * (d.stride / d.group);
  const float step = scale / float(bytes ? 73 : 4.6);  // the codes' deviations
  std::vector<uint16_t> scales(groups), minima(groups);
  for (size_t g = 0; g < groups; ++g) {
    scales[g] = f32_to_f16(uniforms(1, 0.5f * step, 1.5f * step)[0]);
    if (random_() % 4 == 0) scales[g] ^= 0x8000;
    minima[g] = f32_to_f16(uniforms(1, 0, 8 * step)[0]);
  }
  std::vector<uint8_t> codes(bytes ? count : count / 2, 0);
  for (int o = 0; o < rows; ++o) {
    for (int i = 0; i < cols; ++i) {
      const int line = line_of(o, i), column = column_of(o, i), code = any_code(random_);
      const size_t at = size_t(line) * d.stride + column;
      if (bytes) {
        codes[at] = uint8_t(int8_t(code));
      } else {
        uint8_t& pair = codes[at / 8 * 4 + at % 4];
        pair = uint8_t(pair | code << at % 8 / 4 * 4);
      }
      const size_t g = transposed ? size_t(line / d.group) * d.stride + column
                                  : size_t(line) * (d.stride / d.group) + column / d.group;
      const twins::Number coded = double(code) * f16_to_f32(scales[g]);  // exact in fp32
      m.twin.weights[size_t(o) * cols + i] =
          storage.minima ? coded - twins::Number(f16_to_f32(minima[g])) : coded;
    }
  }
  d.codes = put(m.codes, codes.data(), codes.size());
  d.scales = static_cast<const uint16_t*>(put(m.scales, scales.data(), groups * 2));
  if (storage.minima) {
    d.minima = static_cast<const uint16_t*>(put(m.minima, minima.data(), groups * 2));
  }
  return m;
}

TestStep KernelTest::step(const std::vector<int>& run_lengths, int64_t state_floats, int vocab) {
  TestStep step;
  std::vector<RowEntry> rows;
  std::vector<RunEntry> runs;
  for (const int count : run_lengths) {
    const int run = int(runs.size()), first = int(rows.size());
    step.runs.push_back({first, count});
    step.states.push_back(normals(size_t(state_floats)));
    step.device_states.emplace_back(stream_, step.states.back());
    runs.push_back({step.device_states.back().data(), first, count, 0});
    for (int t = 0; t < count; ++t) {
      rows.push_back({int(random_() % unsigned(vocab)), run});
      step.tokens.push_back(rows.back().token);
    }
  }
  step.row_entries = Buffer(rows.size() * sizeof(RowEntry));
  step.run_entries = Buffer(runs.size() * sizeof(RunEntry));
  stream_.upload(step.row_entries.data(), rows.data(), rows.size() * sizeof(RowEntry));
  stream_.upload(step.run_entries.data(), runs.data(), runs.size() * sizeof(RunEntry));
  stream_.wait();
  step.table = {step.row_entries.as<RowEntry>(), step.run_entries.as<RunEntry>(), int(rows.size()),
                int(runs.size())};
  return step;
}

twins::Norm KernelTest::norm(int width, double eps) {
  return {normals(size_t(width), 0.1f, 1), normals(size_t(width), 0.1f), double(float(eps))};
}

const float* KernelTest::keep(const std::vector<float>& x) {
  return kept_.emplace_back(stream_, x).data();
}

NormWeights KernelTest::device(const twins::Norm& norm) {
  return {keep(norm.weight), keep(norm.bias), float(norm.eps)};
}

// A twin takes the most that an operation may round by for its deviation, so errors mostly stay
// below one. Two more are for what differs between devices: which multiply-adds are fused, and
// functions that are a few units off.
constexpr double kDeviations = 3;

void KernelTest::expect_twin(const std::vector<float>& actual, const twins::Numbers& expected,
                             const std::string& what, double most) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 0, widest = 0;
  size_t worst = 0, wrong = 0;
  double worst_by = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const twins::Number& number = expected[i];
    largest = std::max(largest, std::fabs(number.value));
    widest = std::max(widest, number.deviation);
    // Numbers below fp32's normal ones may be zero on either side.
    const double off = std::fabs(double(actual[i]) - number.value);
    const double by = off / (kDeviations * number.deviation + 0x1p-126);
    if (by <= 1) continue;
    ++wrong;
    if (!(by <= worst_by)) {
      worst_by = by;
      worst = i;
    }
  }
  EXPECT_EQ(wrong, 0u) << what << ": of " << actual.size() << ", the worst at " << worst << ": "
                       << actual[worst] << " instead of " << expected[worst].value << " +- "
                       << expected[worst].deviation;
  EXPECT_LE(widest, most * largest) << what << ": the tolerance is too wide to say anything";
}

void KernelTest::expect_shift(const TestStep& step, int64_t offset, int width,
                              const std::vector<float>& z) {
  for (size_t run = 0; run < step.runs.size(); ++run) {
    const std::vector<float> state = step.device_states[run].read();
    const size_t last = size_t(step.runs[run].first + step.runs[run].count - 1) * width;
    const std::vector<float> expected(z.begin() + int64_t(last), z.begin() + int64_t(last) + width);
    EXPECT_EQ(std::vector<float>(state.begin() + offset, state.begin() + offset + width), expected)
        << "the shift of run " << run;
    // And nothing else.
    std::vector<float> rest = state, before = step.states[run];
    rest.erase(rest.begin() + offset, rest.begin() + offset + width);
    before.erase(before.begin() + offset, before.begin() + offset + width);
    EXPECT_EQ(rest, before) << "the rest of the state of run " << run;
  }
}

std::vector<float> widened(Format type, const std::vector<std::byte>& bytes) {
  std::vector<float> x(bytes.size() / bytes_of(type));
  if (type == Format::f32) {
    std::memcpy(x.data(), bytes.data(), bytes.size());
    return x;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    x[i] = type == Format::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
  return x;
}

}  // namespace anser
