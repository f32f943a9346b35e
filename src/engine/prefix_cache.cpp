#include "engine/prefix_cache.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace anser {

// Edges carry several tokens, so that a text without branches is one node.
struct PrefixCache::Node {
  Node* parent = nullptr;
  std::vector<Token> edge;                          // from the parent to here; empty at a root only
  size_t depth = 0;                                 // tokens from the root to here
  std::map<Token, std::unique_ptr<Node>> children;  // by the first token of their edges
  std::unique_ptr<State> state;
  double used = 0;  // when it was last asked for
};

namespace {

size_t common(std::span<const Token> a, std::span<const Token> b) {
  return size_t(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

PrefixCache::PrefixCache(size_t most_bytes, size_t state_bytes)
    : clock([] {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        return std::chrono::duration<double>(now).count();
      }),
      most_states_(most_bytes / std::max<size_t>(state_bytes, 1)),
      state_bytes_(state_bytes) {}

PrefixCache::~PrefixCache() = default;

PrefixCache::Hit PrefixCache::find(const std::string& origin, std::span<const Token> tokens) {
  Hit hit;
  const auto root = roots_.find(origin);
  if (root == roots_.end()) return hit;
  Node* best = nullptr;
  Node* node = root->second.get();
  for (;;) {
    if (node->state != nullptr) best = node;
    const auto rest = tokens.subspan(node->depth);
    if (rest.empty()) break;
    const auto child = node->children.find(rest[0]);
    // Where children are there already the text branches off at a node, else within an edge.
    if (child == node->children.end()) {
      if (!node->children.empty()) hit.branch = node->depth;
      break;
    }
    const size_t shared = common(rest, child->second->edge);
    if (shared < child->second->edge.size()) {
      hit.branch = node->depth + shared;
      break;
    }
    node = child->second.get();
  }
  if (best != nullptr) {
    best->used = clock();
    hit.tokens = best->depth;
    hit.state = best->state.get();
  }
  if (hit.branch <= hit.tokens) hit.branch = 0;
  return hit;
}

PrefixCache::Node& PrefixCache::node_at(Node& root, std::span<const Token> tokens) {
  Node* node = &root;
  while (node->depth < tokens.size()) {
    const auto rest = tokens.subspan(node->depth);
    std::unique_ptr<Node>& slot = node->children[rest[0]];
    if (slot == nullptr) {
      slot = std::make_unique<Node>();
      slot->parent = node;
      slot->edge.assign(rest.begin(), rest.end());
      slot->depth = tokens.size();
      return *slot;
    }
    const size_t shared = common(rest, slot->edge);
    if (shared < slot->edge.size()) {
      // A node in the middle of the edge.
      auto middle = std::make_unique<Node>();
      middle->parent = node;
      middle->edge.assign(slot->edge.begin(), slot->edge.begin() + ptrdiff_t(shared));
      middle->depth = node->depth + shared;
      slot->edge.erase(slot->edge.begin(), slot->edge.begin() + ptrdiff_t(shared));
      slot->parent = middle.get();
      const Token first = slot->edge[0];
      std::swap(slot, middle);
      slot->children[first] = std::move(middle);
    }
    node = slot.get();
  }
  return *node;
}

void PrefixCache::put(const std::string& origin, std::span<const Token> tokens,
                      const State& state) {
  if (most_states_ == 0 || tokens.empty()) return;
  std::unique_ptr<Node>& root = roots_[origin];
  if (root == nullptr) root = std::make_unique<Node>();
  Node& node = node_at(*root, tokens);
  node.used = clock();
  if (node.state != nullptr) {
    // The same numbers; but this one may have the logits that the other lacks.
    if (!node.state->has_logits()) *node.state = state;
    return;
  }
  node.state = std::make_unique<State>(state);
  kept_.push_back(&node);
  make_room();
}

void PrefixCache::clear() {
  kept_.clear();
  roots_.clear();
}

void PrefixCache::make_room() {
  while (kept_.size() > most_states_) {
    const double now = clock();
    const auto cost = [&](const Node* node) {
      const Node* above = node->parent;
      while (above != nullptr && above->state == nullptr) above = above->parent;
      const size_t again = node->depth - (above == nullptr ? 0 : above->depth);
      return double(again) / (now - node->used + 1);
    };
    Node* worst = nullptr;
    double least = 0;
    for (Node* node : kept_) {
      const double its = cost(node);
      if (worst == nullptr || its < least) worst = node, least = its;
    }
    drop(*worst);
  }
}

// Its state goes, and every node that is then of no use: no state, and no choice between children.
void PrefixCache::drop(Node& node) {
  node.state.reset();
  std::erase(kept_, &node);
  Node* at = &node;
  while (at->parent != nullptr && at->state == nullptr && at->children.empty()) {
    Node* parent = at->parent;
    parent->children.erase(at->edge[0]);
    at = parent;
  }
  if (at->parent == nullptr) {
    if (at->state == nullptr && at->children.empty()) {
      std::erase_if(roots_, [&](const auto& entry) { return entry.second.get() == at; });
    }
    return;
  }
  if (at->state != nullptr || at->children.size() != 1) return;
  // One child is left: its edge takes this one's tokens in front.
  std::unique_ptr<Node> child = std::move(at->children.begin()->second);
  child->edge.insert(child->edge.begin(), at->edge.begin(), at->edge.end());
  child->parent = at->parent;
  std::unique_ptr<Node>& slot = at->parent->children[at->edge[0]];
  const std::unique_ptr<Node> gone = std::move(slot);  // `at` itself
  slot = std::move(child);
}

}  // namespace anser
