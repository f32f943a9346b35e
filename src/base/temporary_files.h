// Files that are being written under temporary names. They are noted here so that a process that a
// signal ends can delete them first: half a model may be gigabytes.
#pragma once

#include <string>
#include <string_view>

namespace anser {

// A name for a temporary file in the folder of `path`: short whatever the path's own is, and not to
// be guessed by others who can write there.
std::string temporary_name_beside(const std::string& path);
// Whether a file's name (without folders) is such a name.
bool is_temporary_name(std::string_view name);

// Notes the file. Returns where, or -1 where there is no room for more: then it is not deleted.
int note_temporary_file(const std::string& path);
// It has got its own name, or is gone. -1 is ignored.
void forget_temporary_file(int noted);

// Deletes all that are noted. Only for a process that is about to end: what is being written then
// never gets its name. May be called by a signal handler, beside any thread.
void delete_temporary_files() noexcept;

}  // namespace anser
