// Matrices as the CPU's kernels read them.
//
// A file stores a matrix by outputs: each row holds all weights of one output. Here it is stored by
// inputs, so that weights stream as they are needed by either shape of product:
//   few rows    y += x[i] * (weights of input i) for many outputs at once, in one sequential pass
//               over memory; inputs that are zero are skipped, and their weights never read
//   many rows   a tile is unpacked once into a cache and used by all rows
//
//   panel    256 outputs (the last: what is left, rounded up to 64), all their inputs
//   super    8 blocks; in the K types it begins with f16 d [outputs], then (4 and 5 bits) f16 dmin
//   block    32 inputs of a panel: scales [outputs], then 32 rows of codes [outputs]
//   scales   f16 d, then f16 m where there are minima; in the K types u8 scale, then u8 minimum;
//            in Q6_K i8 scale of the first 16 inputs, then of the last
//   codes    32, 16 or 8 bits: one after the other. 8 bit codes are stored with 128 added.
//            4 bits: 32 bytes for every 64 outputs; byte j has output j low, output j + 32 high.
//            6 bits (also the types of 5): a row of nibbles as for 4 bits, then a row of the high
//            bits, 16 bytes for every 64 outputs; byte j has outputs j, j + 16, j + 32, j + 48
//            from its lowest bits up.
//
// Outputs beyond the last, and inputs beyond the last of plain types, have weight zero. The sizes
// are those of the file but for this padding, the types of 5 bits (a bit more) and 6-bit scales (a
// byte each). A weight is scale * (code - zero) + minimum as in model/dequantize.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/weights.h"

namespace anser {

// Outputs of the smallest piece that can be packed or computed alone.
constexpr int kTileOutputs = 64;

size_t packed_bytes(const Matrix& m);

// Packs outputs [o, o + 64), o a multiple of 64, of a matrix in its file's layout into `to`, the
// packed matrix's first byte. Different tiles may be packed at the same time.
void pack_tile(const Matrix& m, int o, std::byte* to);

}  // namespace anser
