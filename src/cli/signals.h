// What the program does when the system tells it something: it ends in good order, or says why not.
#pragma once

#include <signal.h>

namespace anser {

// To be called first of all:
// - a closed pipe and a limit of a file's size become errors of write();
// - Ctrl-C, SIGTERM and SIGHUP end the program as ever, but half written files are deleted, and the
//   terminal is as it was;
// - a mapped file that was cut off or cannot be read any more ends it with a line that names it,
//   and exit code 1.
void handle_signals();

// What ends the program: Ctrl-C, SIGTERM and, unless whoever started us wants it ignored (nohup),
// SIGHUP.
sigset_t end_signals();

// The terminal is given back as it is now by a signal that ends the program.
void remember_terminal();

// While one exists, these signals set a flag instead of ending the program, and what runs looks at
// the flag and stops in good order. A second one ends the program as usual.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
  // By SIGTERM or SIGHUP: not only what runs shall stop, but the program.
  static bool must_end();
};

// Ends the program by the signal that a guard has kept from doing so, if that was not Ctrl-C: so
// whoever started us learns why.
void end_by_signal_that_came();

}  // namespace anser
