#include "http.h"

#include <cerrno>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <system_error>
#include <tuple>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arc/StringConv.h>
#include <arc/message/MCC.h>
#include <arc/message/PayloadRaw.h>
#include <arc/message/PayloadStream.h>

#include "file_content.h"
#include "guard.h"
#include "guard_name.h"
#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

// Far above any response that is kept in memory.
constexpr std::size_t max_body = 128 * 1024 * 1024;

// The response to an upload has a short text at most.
constexpr std::size_t max_upload_response = 1024 * 1024;

constexpr int download_buffer = 1024 * 1024;

// The time limit of a request. A busy A-REX needs tens of seconds for hundreds of jobs.
constexpr std::chrono::seconds request_limit(600);

// The time that a file adds to the limit: a transfer slower than 16 KiB/s is given up.
std::chrono::seconds transfer_limit(std::uint64_t size) { return std::chrono::seconds(size / (16 * 1024)); }

// Fails a request before the whole response has been read. ARC's destructor of a chunked response reads the rest of it
// (PayloadHTTPIn::flush_chunked), which may have no end, so the response is leaked. The connection is not used again.
[[noreturn]] void give_up(std::unique_ptr<Arc::PayloadStreamInterface>& response, const std::string& why) {
  static_cast<void>(response.release());
  throw std::runtime_error(why);
}

// Reads the body of a response, if it has one.
std::string read_body(std::unique_ptr<Arc::PayloadStreamInterface>& response, std::size_t max_size) {
  std::string body;
  if (!response) return body;
  char buffer[16384];
  for (int size = sizeof(buffer); response->Get(buffer, size); size = sizeof(buffer)) {
    if (body.size() + static_cast<std::size_t>(size) > max_size)
      give_up(response, "the response is longer than " + Arc::tostring(max_size) + " bytes");
    body.append(buffer, static_cast<std::size_t>(size));
  }
  return body;
}

// Returns false and sets errno if it fails.
bool write_all(int file, const char* data, int size) {
  for (int written = 0; written < size;) {
    const ssize_t count = ::write(file, data + written, static_cast<std::size_t>(size - written));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    written += static_cast<int>(count);
  }
  return true;
}

// Throws if the body of a response is not as long as its head says.
void check_length(const HttpReply& reply, std::uint64_t received) {
  if (reply.size >= 0 && static_cast<std::uint64_t>(reply.size) != received)
    throw std::runtime_error("the response ended after " + Arc::tostring(received) + " of " +
                             Arc::tostring(reply.size) + " bytes");
}

} // namespace

Connection::Connection(const Session& session, const std::string& url, unsigned int timeout)
    : session_(session), url_(url), timeout_(timeout) {}

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, std::uint32_t timeout) {
  return std::make_unique<Connection>(session, std::string(url), timeout);
}

// Opens the connection, if it is not open yet. connect_once finds several sockets if other threads connect to the same
// port at the same time. It is then repeated while no other Connection connects.
void Connection::open() {
  if (client_) return;
  static std::shared_mutex* const connecting = new std::shared_mutex;
  std::size_t candidates;
  {
    const std::shared_lock<std::shared_mutex> shared(*connecting);
    candidates = connect_once();
  }
  if (candidates > 1) {
    const std::unique_lock<std::shared_mutex> exclusive(*connecting);
    connect_once();
  }
  // ARC opens the socket without SOCK_CLOEXEC (PayloadTCPSocket::connect_socket in 6.17 and 7.0).
  if (socket() >= 0) fcntl(socket_, F_SETFD, FD_CLOEXEC);
  // ARC writes the head and the body of a request separately. With Nagle's algorithm the body waits until the server
  // acknowledges the head, which the server's kernel delays by 40 ms.
  set_tcp_option(TCP_NODELAY);
  try {
    verify();
  } catch (...) {
    client_.reset(); // so that the next request does not use it
    throw;
  }
}

// Fails unless the TLS handshake succeeded and the server's certificate names the host.
void Connection::verify() {
  if (!session_.verify_host()) return;
  const Arc::URL url(url_);
  if (url.Protocol() != "https")
    throw Refused(Refused::Kind::untrusted, "without HTTPS, nothing proves that the CE is " + url.Host());
  // ARC's TLS component shows the certificate only to those that send a message (MCC_TLS_Client::process). A message
  // without content sends nothing.
  Arc::MCC* const tls = static_cast<Arc::ClientTCP&>(*client_).GetEntry();
  if (!tls) throw std::runtime_error("ARC made no connection");
  Arc::MessageAttributes request_attributes, response_attributes;
  Arc::MessageContext context;
  Arc::PayloadRaw nothing;
  Arc::Message request, response;
  request.Attributes(&request_attributes);
  request.Context(&context);
  request.Payload(&nothing);
  response.Attributes(&response_attributes);
  response.Context(&context);
  const Arc::MCC_Status status = tls->process(request, response);
  delete response.Payload(nullptr);
  if (!status) throw std::runtime_error(status.getExplanation());
  Arc::SecAttr* const attributes = request.Auth()->get("TLS");
  const std::string other = other_name(attributes ? attributes->get("CERTIFICATE") : "", url.Host());
  if (!other.empty())
    throw Refused(Refused::Kind::untrusted, "the certificate of the CE is for " + other + ", not for " + url.Host());
}

// Opens a connection and looks for its socket, which is the one that did not exist before. Returns how many there are;
// the socket is known only if there is exactly one.
std::size_t Connection::connect_once() {
  Arc::MCCConfig config;
  session_.config().ApplyToConfig(config);
  const Arc::URL url(url_);
  client_.reset(new Arc::ClientHTTP(config, url, static_cast<int>(timeout_)));
  socket_ = -1;
  const Sockets before = sockets_to(url.Port());
  const Arc::MCC_Status status = client_->Load();
  if (!status) {
    client_.reset(); // so that the next request connects again
    throw std::runtime_error(status.getExplanation());
  }
  const Sockets opened = opened_between(before, sockets_to(url.Port()));
  if (opened.size() == 1) std::tie(socket_, ports_) = *opened.begin();
  return opened.size();
}

// The client's socket, unless ARC has closed it and its descriptor is reused.
int Connection::socket() const { return socket_ >= 0 && ports_of(socket_) == ports_ ? socket_ : -1; }

void Connection::set_tcp_option(int option) {
  const int on = 1;
  if (socket() >= 0) setsockopt(socket_, IPPROTO_TCP, option, &on, sizeof(on));
}

bool Connection::usable() const {
  if (broken_ || !client_ || client_->GetClosed() || socket() < 0) return false;
  // No data is due between two requests. A readable socket has been closed, or holds TLS's notice that it will be.
  pollfd state{socket_, POLLIN, 0};
  return ::poll(&state, 1, 0) == 0;
}

// Prepares a request. The time limit starts when the connection is open: the socket is not known before.
Deadline Connection::begin(std::chrono::seconds time_limit) {
  broken_ = true; // until the whole response has been read
  open();
  return Deadline(socket(), time_limit);
}

// Sends a request and reads the head of the response. Returns the body, which is still to be read; null if there is
// none.
template <typename Payload>
std::unique_ptr<Arc::PayloadStreamInterface> Connection::send(const Arc::ClientHTTPAttributes& attributes,
                                                              Payload& content, HttpReply& reply) {
  Arc::HTTPClientInfo info{};
  Stream* raw = nullptr;
  const Arc::MCC_Status status = client_->process(attributes, &content, &info, &raw);
  std::unique_ptr<Stream> response(raw);
  if (!status) throw std::runtime_error(status.getExplanation().empty() ? "no response" : status.getExplanation());
  // A-REX writes the head and the body of a response separately, and its body waits until our kernel acknowledges the
  // head, which it delays by 40 ms. TCP_QUICKACK ends that delay. It works only after the head has arrived, and the
  // kernel soon resets it, so it is set for each response.
  set_tcp_option(TCP_QUICKACK);
  reply.code = info.code;
  reply.reason = rust::String::lossy(info.reason);
  reply.location = rust::String::lossy(info.location.Path());
  reply.size = info.size == static_cast<std::uint64_t>(-1) ? -1 : static_cast<std::int64_t>(info.size);
  return response;
}

HttpReply Connection::request(rust::Str method, rust::Str path, rust::Str accept,
                              rust::Slice<const std::uint8_t> content) {
  const std::multimap<std::string, std::string> headers{{"Accept", std::string(accept)}};
  const Arc::ClientHTTPAttributes attributes{std::string(method), std::string(path), headers};
  Arc::PayloadRaw payload;
  if (!content.empty())
    payload.Insert(reinterpret_cast<const char*>(content.data()), static_cast<Arc::PayloadRawInterface::Size_t>(0),
                   static_cast<Arc::PayloadRawInterface::Size_t>(content.size()));
  HttpReply reply{};
  body_.clear();
  const Deadline deadline = begin(request_limit);
  auto response = send(attributes, payload, reply);
  body_ = read_body(response, max_body);
  check_length(reply, body_.size());
  broken_ = false;
  return reply;
}

rust::Slice<const std::uint8_t> Connection::body() const {
  return {reinterpret_cast<const std::uint8_t*>(body_.data()), body_.size()};
}

HttpReply Connection::download(rust::Str path, std::int32_t file) {
  const Arc::ClientHTTPAttributes attributes{"GET", std::string(path)};
  Arc::PayloadRaw nothing;
  HttpReply reply{};
  Deadline deadline = begin(request_limit);
  auto response = send(attributes, nothing, reply);
  if (reply.size > 0) deadline.extend(transfer_limit(static_cast<std::uint64_t>(reply.size)));
  std::uint64_t received = 0;
  if (response) {
    // The buffer is most of the memory that a transfer takes, so an idle connection does not keep it.
    const std::unique_ptr<char[]> buffer(new char[download_buffer]);
    for (int size = download_buffer; response->Get(buffer.get(), size); size = download_buffer) {
      received += static_cast<std::uint64_t>(size);
      if (reply.code == 200 && !write_all(file, buffer.get(), size)) {
        reply.local_error = errno;
        static_cast<void>(response.release()); // see give_up
        return reply;
      }
    }
  }
  check_length(reply, received);
  broken_ = false;
  return reply;
}

HttpReply Connection::upload(rust::Str path, std::int32_t file, std::uint64_t size) {
  const Arc::ClientHTTPAttributes attributes{"PUT", std::string(path)};
  HttpReply reply{};
  body_.clear();
  const Deadline deadline = begin(request_limit + transfer_limit(size));
  FileContent content(file, size, socket());
  try {
    auto response = send(attributes, content, reply);
    body_ = read_body(response, max_upload_response);
  } catch (...) {
    // If the file could not be read, that is why there is no response.
    if (content.error() == 0) throw;
  }
  reply.local_error = content.error();
  // A server that responds before it has the whole body gets no other request on this connection. It may refuse the
  // file so early, but it cannot have stored it.
  broken_ = !content.complete();
  if (broken_ && reply.local_error == 0 && reply.code >= 200 && reply.code < 300)
    throw std::runtime_error("the server responded before it had received the whole file");
  return reply;
}

} // namespace jasmin_arc
