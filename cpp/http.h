// A kept-alive HTTP connection to a CE, through ARC's HTTP and TLS.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <arc/communication/ClientInterface.h>

#include "rust/cxx.h"

#include "guard.h"
#include "runtime.h"
#include "transport.h"

namespace jasmin_arc {

class Session;
struct Cancel;
struct HttpReply;

/// ARC's HTTP client without its TCP component. Its creator attaches the component below TLS.
class HttpClient : public Arc::ClientHTTP {
public:
  using Arc::ClientHTTP::ClientHTTP;
  Arc::MCC_Status Load() override;
  Arc::MCC* http() const { return http_entry; }
  Arc::MCC* tls() const { return tls_entry; }
};

/// One connection. The first request opens it, and nothing is sent before the server has proved who it is: its
/// certificate must come from a trusted CA and name the host of the URL. Paths are percent-encoded. Every request
/// throws if there is no complete response; the connection is then not usable any more.
class Connection {
public:
  /// Presents the proxy certificate of the session, or the token unless it is empty: A-REX takes the identity of TLS if
  /// there is one. `timeout` is in seconds. It is the limit for connecting with the TLS handshake, for the head of a response, and
  /// for each later wait for the server.
  Connection(const Session& session, const std::string& url, const std::string& token, unsigned int timeout);
  ~Connection();

  /// Sets the limits of the next request, or of open(): milliseconds without progress, milliseconds of the call (the
  /// maximum: none), and whether it is cancelled.
  void set_limits(std::uint64_t idle, std::uint64_t call, rust::Box<Cancel> cancel);

  /// How many milliseconds without progress the last request has left.
  std::uint64_t idle_left() const;

  /// Connects and verifies the server, unless the connection is open. Sends no request.
  void open();

  /// Sends a request and reads the response, whose body body() then returns.
  HttpReply request(rust::Str method, rust::Str path, rust::Str accept, rust::Slice<const std::uint8_t> content);

  /// The body of the last response to request(), upload(), or read_range() without a file.
  rust::Slice<const std::uint8_t> body() const;

  /// GETs a path and writes the body to the descriptor `file` if the status code is 200. A body whose length the head
  /// does not announce is refused once it is longer than `limit` bytes.
  HttpReply download(rust::Str path, std::int32_t file, std::uint64_t limit);

  /// GETs `length` bytes of a path, from the byte `first` on, or fewer if the content ends before. Writes them to the
  /// descriptor `file`, or to body() if it is negative. The status code is 206, or 200 if the range is the whole content
  /// or if the server ignores ranges: then it skips what comes before the range, and does not read what follows it.
  HttpReply read_range(rust::Str path, std::uint64_t first, std::uint64_t length, std::int32_t file);

  /// Lets the connection send no further request.
  void retire() { broken_ = true; }

  /// PUTs the first `size` bytes of the descriptor `file`.
  HttpReply upload(rust::Str path, std::int32_t file, std::uint64_t size);

  /// Whether the server may have received the whole last request. False only if that is impossible: no connection was
  /// established, or a part of the request was not handed to the kernel.
  bool sent() const;

  /// Whether another request can be sent: the last one was completed and the server has not closed the connection.
  bool usable() const;

private:
  using Stream = Arc::PayloadStreamInterface;

  Transport::Limits take_limits();
  void begin(std::chrono::seconds time_limit);
  template <typename Payload>
  std::unique_ptr<Stream> send(const Arc::ClientHTTPAttributes& attributes, Payload& content, HttpReply& reply);
  void end(const HttpReply& reply, std::uint64_t received);
  void connect();
  void close();
  void verify();
  void throw_if_stopped(Transport::Stop stop) const;
  std::string alert() const;
  [[noreturn]] void fail(const std::string& why);
  int socket() const { return transport_ ? transport_->socket() : -1; }

  const Session& session_;
  const std::string url_;
  std::string token_;
  const std::chrono::seconds timeout_;
  // The client uses the transport and the guard, also when it is destroyed.
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Guard> guard_;
  std::unique_ptr<HttpClient, Delete<HttpClient>> client_;
  std::unique_ptr<Stream> tls_; // what the TLS component reads
  std::unique_ptr<Transport::Limits> limits_; // of the next request, if they are set
  Transport::Clock::time_point idle_end_;
  Transport::Clock::time_point deadline_; // of the current request
  std::string body_;
  bool broken_ = false;
  bool answered_ = false; // whether a whole response has come on this connection
};

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, rust::Str token, std::uint32_t timeout);

} // namespace jasmin_arc
