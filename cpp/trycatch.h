// What happens around every call from Rust into C++: it is counted, so that the process does not tear ARC down under
// it, and no C++ exception of any type gets through (cxx's own handler knows only std::exception; ARC throws
// Glib::Exception, SQLiteException and others, and an escape is std::terminate).
#pragma once

#include <csignal>
#include <string>

namespace jasmin_arc {

/// Keeps SIGPIPE from the thread for a while: ARC writes to sockets that the other end may have closed, and a program may
/// have SIGPIPE kill it.
class NoSigpipe {
public:
  NoSigpipe() noexcept;
  ~NoSigpipe();
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

private:
  sigset_t before_;
  bool pending_;
};

/// A call in flight. False when the process is exiting: then nothing may be begun.
class Call {
public:
  Call() noexcept;
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  explicit operator bool() const noexcept { return admitted_; }

private:
  NoSigpipe no_sigpipe_;
  bool admitted_;
};

/// The text that Rust recognises as Error::Exiting.
extern const char* const exiting_message;

/// What the exception being handled says, whatever its type.
std::string current_exception_text() noexcept;

} // namespace jasmin_arc

namespace rust {
namespace behavior {

template <typename Try, typename Fail>
static void trycatch(Try&& func, Fail&& fail) noexcept {
  jasmin_arc::Call call;
  if (!call) {
    fail(jasmin_arc::exiting_message);
    return;
  }
  try {
    func();
  } catch (...) {
    fail(jasmin_arc::current_exception_text());
  }
}

} // namespace behavior
} // namespace rust
