// What surrounds every call from Rust into C++. Calls are counted, so that exit can wait for them before ARC's objects
// are destroyed. All exceptions become errors: cxx's own handler catches only std::exception, and any other type, such
// as Glib::Exception or ARC's SQLiteException, would end the process through std::terminate.
#pragma once

#include <csignal>
#include <string>

namespace jasmin_arc {

/// Blocks SIGPIPE in this thread while it exists, and discards one that arrives. ARC writes to sockets without
/// MSG_NOSIGNAL (PayloadTCPSocket::Put), and the default action of SIGPIPE kills the program.
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

/// A call in flight. False if the process is exiting or was forked: the call must then do nothing.
class Call {
public:
  Call() noexcept;
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  explicit operator bool() const noexcept { return refusal_ == nullptr; }

  /// The text of the error for a call that is not admitted.
  const char* refusal() const noexcept { return refusal_; }

private:
  NoSigpipe no_sigpipe_;
  const char* refusal_;
};

/// The refusal of a call while the process is exiting. src/ffi recognises it.
extern const char* const exiting_message;

/// The refusal of a call in a process that was forked from the one that initialised ARC.
extern const char* const forked_message;

/// The text of the exception that is being handled; its type if it has no text.
std::string current_exception_text() noexcept;

} // namespace jasmin_arc

namespace rust {
namespace behavior {

template <typename Try, typename Fail>
static void trycatch(Try&& func, Fail&& fail) noexcept {
  jasmin_arc::Call call;
  if (!call) {
    fail(call.refusal());
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
