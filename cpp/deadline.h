// Time limits for whole requests: ARC's time-outs apply to single reads, so a server that sends a byte now and then can
// hold a request for any time.
#pragma once

#include <chrono>

namespace jasmin_arc {

/// Shuts a socket down after a time, unless the Deadline is destroyed before that.
class Deadline {
public:
  /// Does nothing if `socket` is -1. The socket must stay open while the Deadline exists.
  Deadline(int socket, std::chrono::seconds after);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  void extend(std::chrono::seconds more);

private:
  friend struct Deadlines;
  const int socket_;
  std::chrono::steady_clock::time_point when_;
  bool passed_ = false;
};

} // namespace jasmin_arc
