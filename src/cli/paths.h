// Files that a command will need, looked at before it works for minutes.
#pragma once

#include <string>
#include <vector>

namespace anser {

// Throws Error where `path` cannot be read. An empty one, or "-", is no file.
void check_readable(const std::string& path);

// Throws Error where `path` cannot be written. Leaves nothing there.
void check_writable(const std::string& path);

// Whether writing `out` would replace `in`, a file or a folder, or a file in that folder.
bool is_part_of(const std::string& in, const std::string& out);

// Both, for the value of `option`, before anything is read: throws CLI::ValidationError when one of
// `inputs`, files or folders, would be replaced, or when `path` is "-". Empty inputs are none.
void check_output(const std::string& option, const std::string& path,
                  const std::vector<std::string>& inputs);

}  // namespace anser
