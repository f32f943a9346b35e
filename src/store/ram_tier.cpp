#include "store/ram_tier.h"

#include <utility>

#include "model/model_sketch.h"

namespace anser {

std::shared_ptr<const State> RamTier::find(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  items_.splice(items_.begin(), items_, found->second);
  return found->second->state;
}

void RamTier::keep(const std::string& key, std::shared_ptr<const State> state) {
  uint64_t bytes = sizeof(float) * (state->data().size() + state->logits().size());
  if (state->identity_known()) {
    bytes += sizeof(ModelSketch::Group) * state->sketch()->groups().size();
  }
  drop(key);
  if (bytes > max_bytes_) return;
  while (bytes_ + bytes > max_bytes_) drop(std::string(items_.back().key));
  items_.push_front({key, std::move(state), bytes});
  by_key_[key] = items_.begin();
  bytes_ += bytes;
}

void RamTier::drop(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  bytes_ -= found->second->bytes;
  items_.erase(found->second);
  by_key_.erase(found);
}

}  // namespace anser
