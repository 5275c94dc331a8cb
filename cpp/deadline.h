// An end to waiting for a server that sends a byte now and then: ARC's time-outs are for one read each.
#pragma once

#include <chrono>

namespace jasmin_arc {

/// Cuts a socket off when too much time has passed, unless it has been destroyed before.
class Deadline {
public:
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
