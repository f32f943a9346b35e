// Files that a command will need, looked at before it works for minutes.
#pragma once

#include <string>

namespace anser {

// Throws Error where `path` cannot be read. An empty one, or "-", is no file.
void check_readable(const std::string& path);

// Throws Error where `path` cannot be written. Leaves nothing there.
void check_writable(const std::string& path);

// Whether writing `out` would replace the model `in`, a file or a folder, or a part of it.
bool is_part_of_model(const std::string& in, const std::string& out);

// Both, for the value of `option`: throws CLI::ValidationError when the model would be replaced. An
// empty `model` is the embedded one.
void check_output(const std::string& option, const std::string& path, const std::string& model);

}  // namespace anser
