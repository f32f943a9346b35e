#include "cli/state_tree.h"

#include <map>
#include <set>

namespace anser {

std::string draw_state_trees(const std::vector<StateInfo>& states, const std::string& marked,
                             const std::function<std::string(const StateInfo&)>& describe) {
  std::map<std::string, const StateInfo*> by_id;
  for (const StateInfo& info : states) by_id[info.id] = &info;
  std::map<std::string, std::vector<std::string>> children;
  std::vector<std::string> roots;  // each once, the oldest tree first
  std::set<std::string> gone;
  for (const StateInfo& info : states) {
    if (!info.parent.empty()) children[info.parent].push_back(info.id);
    if (info.parent.empty()) {
      roots.push_back(info.id);
    } else if (!by_id.contains(info.parent) && gone.insert(info.parent).second) {
      roots.push_back(info.parent);
    }
  }
  if (!marked.empty()) {
    std::string root = marked;
    // At most as many steps as there are states: files made by hand may go round in circles.
    for (size_t steps = 0; steps < states.size(); ++steps) {
      const auto at = by_id.find(root);
      if (at == by_id.end() || at->second->parent.empty()) break;
      root = at->second->parent;
    }
    roots = {root};
  }

  struct Line {
    std::string id;
    std::string lead;    // what stands in front of the state,
    std::string column;  // and in front of what hangs on it
    bool root = false;
  };
  std::string out;
  std::vector<Line> open;
  for (auto root = roots.rbegin(); root != roots.rend(); ++root)
    open.push_back({*root, "", "", true});
  std::set<std::string> drawn;
  while (!open.empty()) {
    const Line line = std::move(open.back());
    open.pop_back();
    if (!drawn.insert(line.id).second) continue;
    const auto info = by_id.find(line.id);
    if (line.root && !out.empty()) out += "\n";  // a tree of its own, not a child
    out += line.lead + (line.id == marked ? "* " : "o ") +
           (info == by_id.end() ? line.id + "  (removed)" : describe(*info->second)) + "\n";
    const std::vector<std::string>& next = children[line.id];
    for (size_t i = next.size(); i-- > 0;) {
      if (next.size() == 1) {
        open.push_back({next[i], line.column, line.column});
      } else if (i + 1 == next.size()) {
        open.push_back({next[i], line.column + "└─", line.column + "  "});
      } else {
        open.push_back({next[i], line.column + "├─", line.column + "│ "});
      }
    }
  }
  return out;
}

}  // namespace anser
