// ARC in a process that belongs to another program: initialisation, exit, SIGCHLD.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace jasmin_arc {

/// Initialises ARC once for the process. `location` is the prefix that ARC is installed under. The environment variable
/// ARC_LOCATION overrides it.
void runtime_start(rust::Str location);

/// Registers the exit handler again if libraries (ARC's plugins) have been loaded since the last time: their
/// destructors must run after it.
void runtime_after_call() noexcept;

/// Throws an exception (0: Glib::Exception, 1: std::string, 2: int, otherwise: std::exception). For tests.
void runtime_throw(std::uint8_t kind);

/// A deleter that leaks the object if the process is exiting, when parts of ARC may be destroyed already, or was
/// forked, when the object belongs to its parent.
template <typename T>
struct Delete {
  void operator()(T* object) const noexcept;
};

} // namespace jasmin_arc

#include "trycatch.h"

template <typename T>
void jasmin_arc::Delete<T>::operator()(T* object) const noexcept {
  Call call;
  if (!call) return;
  try {
    delete object;
  } catch (...) {
    // A destructor's failure has no remedy.
  }
}
