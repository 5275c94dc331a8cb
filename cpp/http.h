// A kept-alive HTTP connection to a CE, through ARC's HTTP and TLS.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <arc/communication/ClientInterface.h>

#include "rust/cxx.h"

#include "deadline.h"
#include "runtime.h"
#include "sockets.h"

namespace jasmin_arc {

class Session;
struct HttpReply;

/// One connection. The first request opens it, and nothing is sent before the server has proved who it is: its certificate
/// must come from a trusted CA and name the host of the URL. Paths are percent-encoded. Every request throws if there is no complete
/// response; the connection is then not usable any more.
class Connection {
public:
  /// `timeout` is in seconds, and applies to each wait for the server.
  Connection(const Session& session, const std::string& url, unsigned int timeout);

  /// Connects and verifies the server, unless the connection is open. Sends no request.
  void open();

  /// Sends a request and reads the response, whose body body() then returns.
  HttpReply request(rust::Str method, rust::Str path, rust::Str accept, rust::Slice<const std::uint8_t> content);

  /// The body of the last response to request() or upload().
  rust::Slice<const std::uint8_t> body() const;

  /// GETs a path and writes the body to the descriptor `file` if the status code is 200.
  HttpReply download(rust::Str path, std::int32_t file);

  /// PUTs the first `size` bytes of the descriptor `file`.
  HttpReply upload(rust::Str path, std::int32_t file, std::uint64_t size);

  /// Whether another request can be sent: the last one was completed and the server has not closed the connection.
  bool usable() const;

private:
  using Stream = Arc::PayloadStreamInterface;

  Deadline begin(std::chrono::seconds time_limit);
  template <typename Payload>
  std::unique_ptr<Stream> send(const Arc::ClientHTTPAttributes& attributes, Payload& content, HttpReply& reply);
  void verify();
  std::size_t connect_once();
  int socket() const;
  void set_tcp_option(int option);

  const Session& session_;
  const std::string url_;
  const unsigned int timeout_;
  std::unique_ptr<Arc::ClientHTTP, Delete<Arc::ClientHTTP>> client_;
  std::string body_;
  int socket_ = -1; // the client's socket, -1 if it is unknown
  Ports ports_;     // of socket_
  bool broken_ = false;
};

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, std::uint32_t timeout);

} // namespace jasmin_arc
