// The TCP connection below ARC's TLS and HTTP. It takes the place of ARC's TCP component, whose timeouts apply to
// single reads only, and which tells nobody its socket and leaves it open in child processes (PayloadTCPSocket in 6.17
// and 7.0).
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <string>

#include <arc/message/MCC.h>

#include "versions.h"

namespace jasmin_arc {

/// A TCP connection with limits. Reads and writes fail when a limit is reached. A connection that has failed is not used
/// again.
class Transport : public Arc::MCCInterface {
public:
  using Clock = std::chrono::steady_clock;

  /// The limits of a request, which include connecting.
  struct Limits {
    Clock::time_point idle_end; // of the time without progress
    Clock::time_point call_end = Clock::time_point::max();
    std::function<bool()> cancelled; // may be empty
  };

  /// What ended the use of the connection.
  enum class Stop { none, timed_out, deadline, cancelled };

  /// `timeout` is the time without progress after which everything fails.
  explicit Transport(std::chrono::seconds timeout);
  ~Transport() override;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  /// Sets the limits of the next request.
  void set_limits(const Limits& limits) { limits_ = limits; }

  /// Sets the time at which everything on this connection fails.
  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }

  /// Starts a phase in which bytes are no progress: a server cannot prolong it by sending them one by one. `what` follows
  /// the text of the failure.
  void begin_phase(const char* what) { phase_ = what; }
  void end_phase();

  /// Resolves the host and connects. Throws if that fails.
  void connect(const std::string& host, int port);

  /// The connected socket, or -1.
  int socket() const { return socket_; }

  /// Why a read or write failed because of a limit; empty if none did.
  const std::string& why_stopped() const { return why_stopped_; }
  Stop stop() const { return stop_; }

  /// When the time without progress ends.
  Clock::time_point idle_end() const { return limits_.idle_end; }

  /// Reads up to `size` bytes. Returns false at the end of the stream and on failure.
  bool read(char* buffer, int& size);
  bool write(const char* data, std::size_t size);

  /// Whether something could not be handed to the kernel. Nothing is sent after that.
  bool write_failed() const { return write_failed_; }

  /// Sends the content of a message. The response is the stream of what the server sends.
  Arc::MCC_Status process(Arc::Message& request, Arc::Message& response) override;

private:
  bool must_stop();
  void stop_because(Stop stop, const std::string& why);
  void progress() { limits_.idle_end = Clock::now() + timeout_; }
  Clock::time_point next_check(Clock::time_point until) const;
  bool wait(int socket, short events, Clock::time_point until = Clock::time_point::max());
  std::list<Arc::HostnameResolver::SockAddr> resolve(const std::string& host, int port);
  int connect_to(const void* address, std::size_t length, Clock::time_point until, int& error);

  const std::chrono::seconds timeout_;
  Limits limits_;
  Clock::time_point deadline_ = Clock::time_point::max();
  const char* phase_ = nullptr;
  Stop stop_ = Stop::none;
  std::string why_stopped_;
  int socket_ = -1;
  std::size_t written_ = 0; // since the last progress
  bool write_failed_ = false;
};

} // namespace jasmin_arc
