// The version of the headers that a program was compiled with. This is the one place where it is
// written: CMake reads it from here, and `anser --version` prints it. What changes with which of
// the numbers is promised in docs/stability.md.
#pragma once

#define ANSER_VERSION_MAJOR 0
#define ANSER_VERSION_MINOR 2
#define ANSER_VERSION_PATCH 0

namespace anser {

// Of the library that is linked, "0.2.0" for instance. A program that wants to know whether headers
// and library belong together compares it with the three numbers above. Never null; lives as long
// as the program.
//
// Threading: any thread, at any time.
const char* version() noexcept;

}  // namespace anser
