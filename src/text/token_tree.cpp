#include "text/token_tree.h"

#include <algorithm>

namespace anser {

TokenTree::TokenTree(std::span<const ByteTrie::Entry> sorted) {
  tokens_.reserve(sorted.size());
  std::vector<uint32_t> path;  // the nodes of the last entry's bytes
  std::string_view last;
  const auto close = [&](size_t length) {
    for (; path.size() > length; path.pop_back()) nodes_[path.back()].end = uint32_t(nodes_.size());
  };
  for (const ByteTrie::Entry& entry : sorted) {
    const auto differs = std::ranges::mismatch(last, entry.bytes).in1;
    close(size_t(differs - last.begin()));
    for (size_t i = path.size(); i < entry.bytes.size(); ++i) {
      path.push_back(uint32_t(nodes_.size()));
      nodes_.push_back({0, uint32_t(tokens_.size()), uint16_t(i + 1), uint8_t(entry.bytes[i])});
    }
    tokens_.push_back(entry.value);
    last = entry.bytes;
    depth_ = std::max(depth_, last.size());
  }
  close(0);
  nodes_.push_back({uint32_t(nodes_.size()), uint32_t(tokens_.size()), 0, 0});
}

}  // namespace anser
