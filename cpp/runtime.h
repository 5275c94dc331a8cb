// ARC as a guest in somebody else's process: initialisation, exit, SIGCHLD.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace jasmin_arc {

/// Initialises ARC once for the process. `location` is the prefix ARC is installed under (ARC_LOCATION overrides it).
void runtime_start(rust::Str location);

/// Registers the exit handler again if ARC has loaded libraries (plugins) since: their destructors must run after it.
void runtime_after_call() noexcept;

/// For the tests: throws what `kind` says (0: Glib::Exception, 1: std::string, 2: int, 3: std::exception).
void runtime_throw(std::uint8_t kind);

/// Destroys what a `T*` points to, unless the process is exiting: then ARC may be half gone, and it is leaked.
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
    // Nobody can do anything about it.
  }
}
