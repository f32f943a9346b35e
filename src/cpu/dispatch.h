// Which kernel table to use.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace anser {

// Tables that were built and that this machine can run (x86-64: cpuid and, since the operating
// system must save the registers, XCR0; aarch64: what Linux says), best first. Never empty.
std::vector<const Kernels*> supported_kernels();

// Names of all tables that were built, best first, supported or not.
std::vector<std::string> built_kernels();

// The best, or what the environment variable ANSER_ISA names ("avx512", "avx2", "baseline").
// Throws Error when it names none, or one that this machine cannot run.
const Kernels& choose_kernels();

}  // namespace anser
