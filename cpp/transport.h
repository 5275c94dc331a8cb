// The TCP connection below ARC's TLS and HTTP. It takes the place of ARC's TCP component, whose time-outs apply to
// single reads only, and which tells nobody its socket and leaves it open in child processes (PayloadTCPSocket in 6.17
// and 7.0).
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include <arc/message/MCC.h>

namespace jasmin_arc {

/// A TCP connection with time limits. Reads and writes fail when no byte passes for the time-out, or when a limit is
/// reached. A connection that has failed is not used again.
class Transport : public Arc::MCCInterface {
public:
  using Clock = std::chrono::steady_clock;

  explicit Transport(std::chrono::seconds timeout);
  ~Transport() override;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  /// Sets the time at which everything on this connection fails.
  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }

  /// Starts a phase, which must end within the time-out whether bytes arrive or not: a server cannot prolong it by
  /// sending them one by one. `what` follows the text of the failure.
  void begin_phase(const char* what);
  void end_phase() { phase_ = nullptr; }

  /// Resolves the host and connects. Throws if that fails.
  void connect(const std::string& host, int port);

  /// The connected socket, or -1.
  int socket() const { return socket_; }

  /// Why a read or write failed because of a time limit; empty if none did.
  const std::string& timed_out() const { return timed_out_; }

  /// Reads up to `size` bytes. Returns false at the end of the stream and on failure.
  bool read(char* buffer, int& size);
  bool write(const char* data, std::size_t size);

  /// Whether something could not be handed to the kernel. Nothing is sent after that.
  bool write_failed() const { return write_failed_; }

  /// Sends the content of a message. The response is the stream of what the server sends.
  Arc::MCC_Status process(Arc::Message& request, Arc::Message& response) override;

private:
  bool wait(int socket, short events, Clock::time_point until = Clock::time_point::max());
  int connect_to(const void* address, std::size_t length, Clock::time_point until, int& error);

  const std::chrono::seconds timeout_;
  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point phase_end_;
  const char* phase_ = nullptr;
  std::string timed_out_;
  int socket_ = -1;
  bool write_failed_ = false;
};

} // namespace jasmin_arc
