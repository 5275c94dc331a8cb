// One kept-alive connection to a CE, over ARC's own HTTP and TLS.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <arc/communication/ClientInterface.h>

#include "rust/cxx.h"

#include "deadline.h"
#include "runtime.h"

namespace jasmin_arc {

class Session;
struct HttpReply;

/// The ports of both ends of a socket, its own first.
using Ports = std::pair<std::uint16_t, std::uint16_t>;

/// Sockets by their descriptors.
using Sockets = std::map<int, Ports>;

class Connection {
public:
  Connection(const Session& session, const std::string& url, unsigned int timeout);

  /// Sends a request and reads the whole answer, which is then in body(). `path` is percent-encoded.
  HttpReply request(rust::Str method, rust::Str path, rust::Str accept, rust::Slice<const std::uint8_t> content);

  /// The body of the last answer.
  rust::Slice<const std::uint8_t> body() const;

  /// GETs a path and, if the answer is 200, writes the body to a file descriptor.
  HttpReply download(rust::Str path, std::int32_t file);

  /// PUTs `size` bytes from a file descriptor.
  HttpReply upload(rust::Str path, std::int32_t file, std::uint64_t size);

  /// Whether another request can be sent: the server has not closed the connection.
  bool usable() const;

private:
  template <typename Payload>
  std::unique_ptr<Arc::PayloadStreamInterface> send(const Arc::ClientHTTPAttributes& attributes, Payload& content,
                                                    HttpReply& reply);
  Deadline begin(std::chrono::seconds patience);
  void connect();
  std::size_t connect_once();
  int socket() const;
  void set_tcp_option(int option);

  const Session& session_;
  const std::string url_;
  const unsigned int timeout_;
  std::unique_ptr<Arc::ClientHTTP, Delete<Arc::ClientHTTP>> client_;
  std::string body_;
  int socket_ = -1; // of the client, if it is known
  Ports ports_;
  bool broken_ = false;
};

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, std::uint32_t timeout);

} // namespace jasmin_arc
