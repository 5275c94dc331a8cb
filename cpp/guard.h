// Responses that ARC must not read. ARC's reader takes the sign of a chunk size, copies that many bytes and crashes,
// takes a line over 4096 bytes for the end of the head, and reads heads and chunks without end (PayloadHTTPIn in 6.17
// and 7.0).
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <arc/message/MCC.h>
#include <arc/message/PayloadStream.h>

#include "transport.h"

namespace jasmin_arc {

/// The reason why a server or its response is refused. src/ffi tells the kinds apart by the beginning of the text.
class Refused : public std::runtime_error {
public:
  enum class Kind { untrusted, invalid_response, timed_out, deadline, cancelled };
  Refused(Kind kind, const std::string& why);
};

/// Follows the framing of one HTTP response (RFC 9112) and refuses what ARC would read differently or without end.
class Framing {
public:
  /// Reads the head. Returns how many bytes of `data` it took: less than `size` once the head is complete or refused.
  std::size_t take_head(const char* data, std::size_t size);
  /// Reads the body and its framing. Returns how many bytes belong to the response.
  std::size_t take_body(const char* data, std::size_t size);
  /// The server has closed the connection.
  void end();

  bool head_complete() const { return state_ > State::head; }
  /// Whether the response has ended as its head says.
  bool complete() const { return state_ == State::complete; }
  bool refused() const { return state_ == State::refused; }
  /// Why the response is refused, if it is.
  const std::string& why() const { return why_; }
  /// The value of Retry-After, or nothing.
  const std::string& retry_after() const { return retry_after_; }
  /// The value of Content-Range, or nothing.
  const std::string& content_range() const { return content_range_; }
  /// The head as ARC may read it.
  const std::string& head() const { return head_; }

private:
  enum class State { status, head, body, until_close, chunk_size, chunk, chunk_end, trailer, complete, refused };

  void refuse(const char* why);
  bool add_to_line(const char* data, std::size_t size, std::size_t& taken);
  void status_line();
  void field();
  void end_of_head();
  void framing_line();

  State state_ = State::status;
  std::string head_;
  std::string line_;
  std::size_t size_of_lines_ = 0;
  std::uint64_t left_ = 0; // bytes of the body or of the chunk
  int code_ = 0;
  bool sized_ = false;
  bool chunked_ = false;
  std::string why_;
  std::string retry_after_;
  std::string content_range_;
};

/// Stands between ARC's HTTP and what is below it, and lets only well-framed responses pass.
class Guard : public Arc::MCCInterface {
public:
  explicit Guard(Transport& transport) : Arc::MCCInterface(nullptr), transport_(transport) {}

  /// Sets the component below: TLS, or the transport.
  void set_next(Arc::MCCInterface& next) { next_ = &next; }

  /// Sends a request. The response is a stream that ARC's HTTP may read.
  Arc::MCC_Status process(Arc::Message& request, Arc::Message& response) override;

  /// Reads what ARC leaves unread at the end of a chunked response.
  void finish();
  /// Ends the response here: ARC reads no more of it, not even when it destroys the response.
  void stop() { stopped_ = true; }

  /// A request begins. It may fail before it reaches this component.
  void begin_request() { sent_ = false; }
  /// Whether the server may have received the whole request: false only if some of it was not handed to the kernel.
  bool sent() const { return sent_; }

  /// Whether a whole response has been read.
  bool complete() const { return framing_.complete(); }
  /// The value of Retry-After in the last response, or nothing.
  const std::string& retry_after() const { return framing_.retry_after(); }
  /// The value of Content-Range in the last response, or nothing.
  const std::string& content_range() const { return framing_.content_range(); }
  /// What TLS said when the response could not be read.
  const std::string& read_failure() const { return read_failure_; }
  /// Why the response is refused; empty if it is not.
  const std::string& refusal() const { return framing_.why(); }
  /// Whether the connection takes another request: nothing is left of the last response, and nothing came after it.
  bool clean() const {
    return !stopped_ && (!inner_ || (complete() && begin_ == end_ && forwarded_ == framing_.head().size()));
  }

private:
  friend class GuardedStream;
  bool read(char* buffer, int& size);
  bool fill();

  Transport& transport_;
  Arc::MCCInterface* next_ = nullptr;
  Arc::PayloadStreamInterface* inner_ = nullptr; // of the last response; its stream owns it
  Framing framing_;
  std::size_t forwarded_ = 0; // bytes of the head that ARC has
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0; // what is unread in buffer_
  bool stopped_ = false;
  bool sent_ = false;
  std::string read_failure_;
};

} // namespace jasmin_arc
