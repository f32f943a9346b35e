// Blocks of the quantised types, packed the plain way: good enough to be a model, and exact about
// what they store. The layouts are written down once more here, from the format's description.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "support/writers.h"

namespace support {
namespace {

struct Half {
  uint16_t bits;
  double value;
};

// To the nearest fp16, denormals too.
Half to_half(double x) {
  const uint16_t sign = x < 0 ? 0x8000 : 0;
  const double magnitude = std::fabs(x);
  if (magnitude < 0x1p-14) {
    const double steps = std::nearbyint(magnitude * 0x1p24);
    return {uint16_t(sign | uint16_t(steps)), (x < 0 ? -1 : 1) * steps * 0x1p-24};
  }
  int exponent;
  double mantissa = std::nearbyint(std::frexp(magnitude, &exponent) * 2048);  // 1024 to 2048
  if (mantissa == 2048) {
    mantissa = 1024;
    ++exponent;
  }
  const uint16_t bits = uint16_t((exponent + 14) << 10 | (int(mantissa) - 1024));
  return {uint16_t(sign | bits), (x < 0 ? -1 : 1) * std::ldexp(mantissa, exponent - 11)};
}

void put(std::string& to, uint16_t bits) {
  to.append(reinterpret_cast<const char*>(&bits), 2);
}

int nearest(double x, double step, int low, int high) {
  return step == 0 ? std::clamp(0, low, high)
                   : int(std::clamp(std::nearbyint(x / step), double(low), double(high)));
}

double largest(const double* x, int n) {
  double most = 0;
  for (int i = 0; i < n; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

void pack_q8_0(const double* x, std::string& to, double* stored) {
  const Half d = to_half(largest(x, 32) / 127);
  put(to, d.bits);
  for (int i = 0; i < 32; ++i) {
    const int q = nearest(x[i], d.value, -127, 127);
    to += char(q);
    stored[i] = d.value * q;
  }
}

// Q4_0 Q4_1 Q5_0 Q5_1: `bits` per weight, with or without a minimum.
void pack_32(const double* x, int bits, bool minimum, std::string& to, double* stored) {
  const int levels = 1 << bits;
  Half d, m = {0, 0};
  int offset = 0;
  if (minimum) {
    const auto [low, high] = std::minmax_element(x, x + 32);
    m = to_half(*low);
    d = to_half((*high - *low) / (levels - 1));
  } else {
    d = to_half(largest(x, 32) / (levels / 2));
    offset = levels / 2;
  }
  put(to, d.bits);
  if (minimum) put(to, m.bits);
  int q[32];
  uint32_t fifth = 0;
  for (int i = 0; i < 32; ++i) {
    q[i] = nearest(x[i] - m.value, d.value, -offset, levels - 1 - offset) + offset;
    stored[i] = d.value * (q[i] - offset) + m.value;
    fifth |= uint32_t(q[i] >> 4) << i;
  }
  if (bits == 5) to.append(reinterpret_cast<const char*>(&fifth), 4);
  for (int i = 0; i < 16; ++i) to += char((q[i] & 15) | (q[i + 16] & 15) << 4);
}

// Q4_K and Q5_K: eight sub-blocks of 32, value = d scale q - dmin minimum.
void pack_k(const double* x, int bits, std::string& to, double* stored) {
  const int most = (1 << bits) - 1;
  double scale[8], minimum[8];
  for (int j = 0; j < 8; ++j) {
    const auto [low, high] = std::minmax_element(x + 32 * j, x + 32 * j + 32);
    minimum[j] = std::max(0.0, -*low);
    scale[j] = std::max(0.0, *high + minimum[j]) / most;
  }
  const Half d = to_half(*std::max_element(scale, scale + 8) / 63);
  const Half dmin = to_half(*std::max_element(minimum, minimum + 8) / 63);
  uint8_t sc[8], mn[8], q[256];
  for (int j = 0; j < 8; ++j) {
    sc[j] = uint8_t(nearest(scale[j], d.value, 0, 63));
    mn[j] = uint8_t(nearest(minimum[j], dmin.value, 0, 63));
    for (int i = 32 * j; i < 32 * j + 32; ++i) {
      q[i] = uint8_t(nearest(x[i] + dmin.value * mn[j], d.value * sc[j], 0, most));
      stored[i] = d.value * sc[j] * q[i] - dmin.value * mn[j];
    }
  }
  put(to, d.bits);
  put(to, dmin.bits);
  uint8_t packed[12];
  for (int j = 0; j < 4; ++j) {
    packed[j] = uint8_t(sc[j] | sc[j + 4] >> 4 << 6);
    packed[j + 4] = uint8_t(mn[j] | mn[j + 4] >> 4 << 6);
    packed[j + 8] = uint8_t((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4);
  }
  to.append(reinterpret_cast<const char*>(packed), 12);
  if (bits == 5) {
    for (int e = 0; e < 32; ++e) {
      uint8_t high = 0;
      for (int j = 0; j < 8; ++j) high |= uint8_t((q[32 * j + e] >> 4) << j);
      to += char(high);
    }
  }
  for (int run = 0; run < 4; ++run) {
    for (int e = 0; e < 32; ++e) {
      to += char((q[64 * run + e] & 15) | (q[64 * run + 32 + e] & 15) << 4);
    }
  }
}

void pack_q6_k(const double* x, std::string& to, double* stored) {
  double scale[16];
  for (int j = 0; j < 16; ++j) scale[j] = largest(x + 16 * j, 16) / 31;
  const Half d = to_half(*std::max_element(scale, scale + 16) / 127);
  int8_t sc[16];
  uint8_t q[256];
  for (int j = 0; j < 16; ++j) {
    sc[j] = int8_t(nearest(scale[j], d.value, 0, 127));
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      const int level = nearest(x[i], d.value * sc[j], -32, 31);
      q[i] = uint8_t(level + 32);
      stored[i] = d.value * sc[j] * level;
    }
  }
  std::string low, high;
  for (int half = 0; half < 2; ++half) {
    const uint8_t* h = q + 128 * half;
    for (int e = 0; e < 64; ++e) low += char((h[e] & 15) | (h[64 + e] & 15) << 4);
    for (int e = 0; e < 32; ++e) {
      high +=
          char(h[e] >> 4 | (h[32 + e] >> 4) << 2 | (h[64 + e] >> 4) << 4 | (h[96 + e] >> 4) << 6);
    }
  }
  to += low + high;
  to.append(reinterpret_cast<const char*>(sc), 16);
  put(to, d.bits);
}

// Q2_K: sixteen sub-blocks of 16, value = d scale q - dmin minimum.
void pack_q2_k(const double* x, std::string& to, double* stored) {
  double scale[16], minimum[16];
  for (int j = 0; j < 16; ++j) {
    const auto [low, high] = std::minmax_element(x + 16 * j, x + 16 * j + 16);
    minimum[j] = std::max(0.0, -*low);
    scale[j] = std::max(0.0, *high + minimum[j]) / 3;
  }
  const Half d = to_half(*std::max_element(scale, scale + 16) / 15);
  const Half dmin = to_half(*std::max_element(minimum, minimum + 16) / 15);
  uint8_t q[256];
  for (int j = 0; j < 16; ++j) {
    const int sc = nearest(scale[j], d.value, 0, 15), mn = nearest(minimum[j], dmin.value, 0, 15);
    to += char(sc | mn << 4);
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      q[i] = uint8_t(nearest(x[i] + dmin.value * mn, d.value * sc, 0, 3));
      stored[i] = d.value * sc * q[i] - dmin.value * mn;
    }
  }
  for (int byte = 0; byte < 64; ++byte) {
    const uint8_t* h = q + byte / 32 * 128 + byte % 32;
    to += char(h[0] | h[32] << 2 | h[64] << 4 | h[96] << 6);
  }
  put(to, d.bits);
  put(to, dmin.bits);
}

// Q3_K: sixteen sub-blocks of 16, value = d (scale - 32) q with q from -4 to 3.
void pack_q3_k(const double* x, std::string& to, double* stored) {
  double scale[16];
  for (int j = 0; j < 16; ++j) scale[j] = largest(x + 16 * j, 16) / 4;
  const Half d = to_half(*std::max_element(scale, scale + 16) / 31);
  int sc[16], q[256];
  for (int j = 0; j < 16; ++j) {
    // Both signs of scale occur in files.
    sc[j] = nearest(scale[j], d.value, 0, 31) * (j % 2 == 0 ? 1 : -1);
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      q[i] = nearest(x[i], d.value * sc[j], -4, 3);
      stored[i] = d.value * sc[j] * q[i];
    }
  }
  for (int e = 0; e < 32; ++e) {
    int high = 0;
    for (int part = 0; part < 8; ++part) high |= (q[32 * part + e] >= 0 ? 1 : 0) << part;
    to += char(high);
  }
  for (int byte = 0; byte < 64; ++byte) {
    const int* h = q + byte / 32 * 128 + byte % 32;
    to += char((h[0] & 3) | (h[32] & 3) << 2 | (h[64] & 3) << 4 | (h[96] & 3) << 6);
  }
  for (int j = 0; j < 8; ++j) to += char(((sc[j] + 32) & 15) | ((sc[j + 8] + 32) & 15) << 4);
  for (int j = 0; j < 4; ++j) {
    int high = 0;
    for (int part = 0; part < 4; ++part) high |= (sc[4 * part + j] + 32) >> 4 << (2 * part);
    to += char(high);
  }
  put(to, d.bits);
}

constexpr int kIqLevels[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};

// 32 weights as numbers of levels, in 16 bytes; value = step level.
void pack_levels(const double* x, double step, std::string& to, double* stored) {
  int q[32];
  for (int i = 0; i < 32; ++i) {
    q[i] = 0;
    for (int level = 1; level < 16; ++level) {
      const auto error = [&](int l) { return std::fabs(x[i] - step * kIqLevels[l]); };
      if (error(level) < error(q[i])) q[i] = level;
    }
    stored[i] = step * kIqLevels[q[i]];
  }
  for (int i = 0; i < 16; ++i) to += char(q[i] | q[i + 16] << 4);
}

void pack_iq4_nl(const double* x, std::string& to, double* stored) {
  const Half d = to_half(largest(x, 32) / 113);
  put(to, d.bits);
  pack_levels(x, d.value, to, stored);
}

// IQ4_XS: eight sub-blocks of 32, value = d (scale - 32) level.
void pack_iq4_xs(const double* x, std::string& to, double* stored) {
  double scale[8];
  for (int j = 0; j < 8; ++j) scale[j] = largest(x + 32 * j, 32) / 113;
  const Half d = to_half(*std::max_element(scale, scale + 8) / 31);
  int sc[8];
  uint16_t high = 0;
  for (int j = 0; j < 8; ++j) {
    sc[j] = nearest(scale[j], d.value, 0, 31) * (j % 2 == 0 ? 1 : -1);
    high |= uint16_t((sc[j] + 32) >> 4 << (2 * j));
  }
  put(to, d.bits);
  put(to, high);
  for (int j = 0; j < 8; j += 2) to += char(((sc[j] + 32) & 15) | ((sc[j + 1] + 32) & 15) << 4);
  for (int j = 0; j < 8; ++j) pack_levels(x + 32 * j, d.value * sc[j], to, stored + 32 * j);
}

}  // namespace

std::string pack(Ggml type, const std::vector<double>& x, std::vector<double>& stored) {
  stored = x;
  if (type == Ggml::f32) return pack(Float::f32, x);
  if (type == Ggml::f16) return pack(Float::f16, x);
  if (type == Ggml::bf16) return pack(Float::bf16, x);
  const bool k = type == Ggml::q2_k || type == Ggml::q3_k || type == Ggml::q4_k ||
                 type == Ggml::q5_k || type == Ggml::q6_k || type == Ggml::iq4_xs;
  const size_t block = k ? 256 : 32;
  if (x.size() % block != 0) throw std::runtime_error("not whole blocks");
  std::string to;
  for (size_t i = 0; i < x.size(); i += block) {
    const double* from = x.data() + i;
    double* out = stored.data() + i;
    switch (type) {
      case Ggml::q8_0:
        pack_q8_0(from, to, out);
        break;
      case Ggml::q4_0:
        pack_32(from, 4, false, to, out);
        break;
      case Ggml::q4_1:
        pack_32(from, 4, true, to, out);
        break;
      case Ggml::q5_0:
        pack_32(from, 5, false, to, out);
        break;
      case Ggml::q5_1:
        pack_32(from, 5, true, to, out);
        break;
      case Ggml::q4_k:
        pack_k(from, 4, to, out);
        break;
      case Ggml::q5_k:
        pack_k(from, 5, to, out);
        break;
      case Ggml::q6_k:
        pack_q6_k(from, to, out);
        break;
      case Ggml::q2_k:
        pack_q2_k(from, to, out);
        break;
      case Ggml::q3_k:
        pack_q3_k(from, to, out);
        break;
      case Ggml::iq4_nl:
        pack_iq4_nl(from, to, out);
        break;
      case Ggml::iq4_xs:
        pack_iq4_xs(from, to, out);
        break;
      default:
        throw std::runtime_error("cannot pack this type");
    }
  }
  return to;
}

const char* ggml_name(Ggml type) {
  switch (type) {
    case Ggml::f32:
      return "F32";
    case Ggml::f16:
      return "F16";
    case Ggml::bf16:
      return "BF16";
    case Ggml::q8_0:
      return "Q8_0";
    case Ggml::q4_0:
      return "Q4_0";
    case Ggml::q4_1:
      return "Q4_1";
    case Ggml::q5_0:
      return "Q5_0";
    case Ggml::q5_1:
      return "Q5_1";
    case Ggml::q4_k:
      return "Q4_K";
    case Ggml::q5_k:
      return "Q5_K";
    case Ggml::q6_k:
      return "Q6_K";
    case Ggml::q2_k:
      return "Q2_K";
    case Ggml::q3_k:
      return "Q3_K";
    case Ggml::iq4_nl:
      return "IQ4_NL";
    case Ggml::iq4_xs:
      return "IQ4_XS";
  }
  return "?";
}

}  // namespace support
