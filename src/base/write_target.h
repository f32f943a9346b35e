// What a path that is to be written stands for.
#pragma once

#include <sys/types.h>

#include <string>

namespace anser {

struct WriteTarget {
  std::string path;       // behind symbolic links
  bool in_place = false;  // no regular file, or this process's own stream: cannot be replaced
  bool exists = false;
  mode_t mode = 0;  // permissions, where it exists
  int error = 0;    // errno: it cannot be written; nothing else here counts
};

// Looks, and changes nothing. A symbolic link that somebody else has put into a folder where
// everybody may write (/tmp) is not followed: EACCES.
WriteTarget find_write_target(const std::string& path);

}  // namespace anser
