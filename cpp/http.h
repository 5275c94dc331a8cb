// One kept-alive connection to a CE, over ARC's own HTTP and TLS.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <arc/communication/ClientInterface.h>

#include "rust/cxx.h"

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
  void connect();
  void set_tcp_option(int option);

  std::unique_ptr<Arc::ClientHTTP, Delete<Arc::ClientHTTP>> client_;
  std::string body_;
  Sockets sockets_; // the one in use, or a few of which it is one
  bool connected_ = false;
  bool broken_ = false;
};

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, std::uint32_t timeout);

} // namespace jasmin_arc
