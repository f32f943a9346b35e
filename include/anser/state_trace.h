// What every token did to a state: how much of each head's matrix S it kept, erased and wrote.
//
// A token takes S [value i][key j] of a head through (src/model/forward.h; |.| is the square root
// of the sum of squares)
//
//   S' = S diag(w) - (S kk) (kk (.) a)^T + v k^T
//
//   kept    = |S diag(w)| / |S|                      what fading leaves: 0.545 to 1
//   erased  = |S kk| |kk (.) a| / |S|                the size of what is taken out: 0 to 1
//   written = |v| |k| / (|v| |k| + |S diag(w) - (S kk) (kk (.) a)^T|)
//                                                    what is put in, as a share of it and of what
//                                                    is left of the old: 0 to 1
//
// for |x y^T| = |x| |y|, and |kk| = 1. Each is a size beside the size of what it acts on, so heads
// of large and of small numbers can be compared; they need not add up to anything, as what is
// written may point anywhere. Where S is zero, at a beginning, kept is 1 and erased 0; where
// nothing is left and nothing written, written is 0.
#pragma once

#include <cstddef>
#include <vector>

namespace anser {

struct StateTrace {
  int layers = 0, heads = 0;
  std::vector<float> kept, erased, written;  // [tokens][layers][heads]

  size_t tokens() const { return layers == 0 ? 0 : kept.size() / (size_t(layers) * heads); }
};

}  // namespace anser
