// A core dump would hold all conversations that the program has in memory.
#pragma once

namespace CLI {
class App;
}

namespace anser {

struct CoreDumps {
  bool allowed = false;

  void add_to(CLI::App& command);
  // Unless they are allowed: should the program die, no core is dumped, wherever the system would
  // send it; nor may others of the same user look into its memory.
  void forbid() const;
};

}  // namespace anser
