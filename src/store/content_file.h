// The content of a stored state, as it lies in a folder: compressed, in a file of its own.
#pragma once

#include <memory>
#include <string>

#include "store/content_reader.h"
#include "store/state_info.h"

namespace anser {

// Stays readable while it is there, also when the state is removed meanwhile. Throws StoreError, as
// its source does when the file can no longer be read.
std::unique_ptr<ContentReader> open_content_file(const std::string& path, const StateInfo& info);

}  // namespace anser
