#include "deadline.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include <sys/socket.h>

namespace jasmin_arc {

/// All that there are, and the thread that watches them. Never destroyed: the thread has no end.
struct Deadlines {
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
      auto next = std::chrono::steady_clock::time_point::max();
      const auto now = std::chrono::steady_clock::now();
      for (Deadline* deadline : all) {
        if (deadline->passed_) continue;
        if (deadline->when_ <= now) {
          deadline->passed_ = true;
          // What is waiting for the other end fails at once. The descriptor stays its owner's.
          if (deadline->socket_ >= 0) ::shutdown(deadline->socket_, SHUT_RDWR);
        } else {
          next = std::min(next, deadline->when_);
        }
      }
      // Not for ever at once: waiting until the end of time overflows in some libraries.
      changed.wait_until(lock, std::min(next, now + std::chrono::hours(1)));
    }
  }
};

Deadline::Deadline(int socket, std::chrono::seconds after)
    : socket_(socket), when_(std::chrono::steady_clock::now() + after) {
  Deadlines& deadlines = Deadlines::instance();
  const std::lock_guard<std::mutex> lock(deadlines.mutex);
  deadlines.all.insert(this);
  // The thread looks again only for one that comes before what it waits for.
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
