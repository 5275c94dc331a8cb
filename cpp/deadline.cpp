#include "deadline.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <sys/socket.h>

namespace jasmin_arc {

/// All deadlines of the process, and the thread that watches them. Never destroyed, because the thread never ends.
struct Deadlines {
  using TimePoint = std::chrono::steady_clock::time_point;

  std::mutex mutex;
  std::condition_variable changed;
  std::set<Deadline*> all;

  static Deadlines& instance() {
    static Deadlines* const deadlines = new Deadlines;
    static const bool started = [] {
      std::thread([] { deadlines->watch(); }).detach();
      return true;
    }();
    static_cast<void>(started);
    return *deadlines;
  }

  void watch() {
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      const TimePoint now = std::chrono::steady_clock::now();
      const TimePoint next = shut_down_passed(now);
      // Without the limit, time_point::max() overflows in some implementations of wait_until.
      changed.wait_until(lock, std::min(next, now + std::chrono::hours(1)));
    }
  }

  /// Shuts down the sockets whose deadlines have passed, and returns the next deadline.
  TimePoint shut_down_passed(TimePoint now) {
    TimePoint next = TimePoint::max();
    for (Deadline* deadline : all) {
      if (deadline->passed_) continue;
      if (deadline->when_ > now) {
        next = std::min(next, deadline->when_);
        continue;
      }
      deadline->passed_ = true;
      // Reads and writes that wait for the peer fail at once. The owner of the descriptor closes it.
      if (deadline->socket_ >= 0) ::shutdown(deadline->socket_, SHUT_RDWR);
    }
    return next;
  }
};

Deadline::Deadline(int socket, std::chrono::seconds after)
    : socket_(socket), when_(std::chrono::steady_clock::now() + after) {
  Deadlines& deadlines = Deadlines::instance();
  const std::lock_guard<std::mutex> lock(deadlines.mutex);
  deadlines.all.insert(this);
  // The thread needs to wake up only if this deadline comes before the one that it waits for.
  for (const Deadline* other : deadlines.all)
    if (other != this && other->when_ <= when_) return;
  deadlines.changed.notify_one();
}

Deadline::~Deadline() {
  Deadlines& deadlines = Deadlines::instance();
  const std::lock_guard<std::mutex> lock(deadlines.mutex);
  deadlines.all.erase(this);
}

void Deadline::extend(std::chrono::seconds more) {
  Deadlines& deadlines = Deadlines::instance();
  const std::lock_guard<std::mutex> lock(deadlines.mutex);
  when_ += more;
}

} // namespace jasmin_arc
