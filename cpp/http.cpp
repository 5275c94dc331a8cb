#include "http.h"

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <system_error>

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arc/StringConv.h>
#include <arc/message/MCC.h>
#include <arc/message/PayloadRaw.h>
#include <arc/message/PayloadStream.h>

#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

// An answer that is kept in memory: no sane one comes near.
constexpr std::size_t largest_body = 128 * 1024 * 1024;

// The answer to an upload, which is short.
constexpr std::size_t largest_refusal = 1024 * 1024;

constexpr int buffer_size = 1024 * 1024;

// How long a request may take in all. A-REX takes tens of seconds for hundreds of jobs when it is busy.
constexpr std::chrono::seconds longest_request(600);

// How long a file may take besides: slower than this it is not worth waiting for.
std::chrono::seconds transfer_time(std::uint64_t size) { return std::chrono::seconds(size / (16 * 1024)); }

// A part of a file as the content of a request, read as it is sent.
class FileContent : public Arc::PayloadStreamInterface {
public:
  FileContent(int file, std::uint64_t size) : file_(file), size_(static_cast<Size_t>(size)) {}

  bool Get(char* buffer, int& size) override {
    const Size_t left = size_ - position_;
    if (size <= 0 || left <= 0) {
      size = 0;
      return false;
    }
    const std::size_t wanted = static_cast<std::size_t>(left < size ? left : size);
    ssize_t got;
    do {
      got = ::pread(file_, buffer, wanted, static_cast<off_t>(position_));
    } while (got < 0 && errno == EINTR);
    size = 0;
    if (got <= 0) {
      failed_ = true; // shorter than it was, or unreadable
      return false;
    }
    size = static_cast<int>(got);
    position_ += got;
    return true;
  }
  using Arc::PayloadStreamInterface::Get;
  bool Put(const char*, Size_t) override { return false; }
  using Arc::PayloadStreamInterface::Put;
  operator bool() override { return !failed_; }
  bool operator!() override { return failed_; }
  int Timeout() const override { return 0; }
  void Timeout(int) override {}
  Size_t Pos() const override { return position_; }
  Size_t Size() const override { return size_; }
  Size_t Limit() const override { return size_; }
  bool whole() const { return !failed_ && position_ == size_; }

private:
  const int file_;
  const Size_t size_;
  Size_t position_ = 0;
  bool failed_ = false;
};

std::uint16_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return 0;
}

// The ports of both ends of a socket, 0 when it is none.
Ports ports(int descriptor) {
  sockaddr_storage here{}, there{};
  socklen_t length = sizeof(here);
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&here), &length) != 0) return {0, 0};
  length = sizeof(there);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&there), &length) != 0) return {0, 0};
  return {port_of(here), port_of(there)};
}

// The process's sockets that are connected to a port.
Sockets sockets_to(int port) {
  Sockets found;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), &closedir);
  if (!directory) return found;
  while (const dirent* entry = readdir(directory.get())) {
    char* end = nullptr;
    const long descriptor = std::strtol(entry->d_name, &end, 10);
    if (*end != '\0' || end == entry->d_name) continue;
    const Ports both = ports(static_cast<int>(descriptor));
    if (both.second == port) found.emplace(static_cast<int>(descriptor), both);
  }
  return found;
}

// ARC reads what is left of a chunked answer when it destroys it, and that may have no end: it is left alone instead. The
// connection is not used again.
[[noreturn]] void give_up(std::unique_ptr<Arc::PayloadStreamInterface>& answer, const std::string& why) {
  static_cast<void>(answer.release());
  throw std::runtime_error(why);
}

} // namespace

Connection::Connection(const Session& session, const std::string& url, unsigned int timeout)
    : session_(session), url_(url), timeout_(timeout) {}

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, std::uint32_t timeout) {
  return std::make_unique<Connection>(session, std::string(url), timeout);
}

// ARC does not tell which socket it has opened: it is the one that was not there before. When other threads have
// connected to the same port meanwhile it is one of several, and it is tried again with nobody else.
void Connection::connect() {
  if (client_) return;
  static std::shared_mutex* const connecting = new std::shared_mutex;
  std::size_t found;
  {
    const std::shared_lock<std::shared_mutex> together(*connecting);
    found = connect_once();
  }
  if (found > 1) {
    const std::unique_lock<std::shared_mutex> alone(*connecting);
    connect_once();
  }
  // ARC sends the head and the body of a request apart. The second must not wait until the server acknowledges the first,
  // which its kernel delays by 40 ms.
  set_tcp_option(TCP_NODELAY);
}

std::size_t Connection::connect_once() {
  Arc::MCCConfig config;
  session_.config().ApplyToConfig(config);
  const Arc::URL url(url_);
  client_.reset(new Arc::ClientHTTP(config, url, static_cast<int>(timeout_)));
  socket_ = -1;
  const Sockets before = sockets_to(url.Port());
  const Arc::MCC_Status status = client_->Load();
  if (!status) throw std::runtime_error(status.getExplanation());
  std::size_t found = 0;
  for (const auto& socket : sockets_to(url.Port())) {
    const auto known = before.find(socket.first);
    if (known != before.end() && known->second == socket.second) continue;
    ++found;
    socket_ = socket.first;
    ports_ = socket.second;
  }
  if (found != 1) socket_ = -1;
  return found;
}

// The descriptor, unless it is something else by now.
int Connection::socket() const { return socket_ >= 0 && ports(socket_) == ports_ ? socket_ : -1; }

void Connection::set_tcp_option(int option) {
  const int on = 1;
  if (socket() >= 0) setsockopt(socket_, IPPROTO_TCP, option, &on, sizeof(on));
}

bool Connection::usable() const {
  if (broken_ || !client_ || client_->GetClosed() || socket() < 0) return false;
  // Nothing is due between two requests: what can be read is the end, or TLS's notice of it.
  pollfd state{socket_, POLLIN, 0};
  return ::poll(&state, 1, 0) == 0;
}

// What comes before every request.
Deadline Connection::begin(std::chrono::seconds patience) {
  broken_ = true; // until all of the answer has been read
  connect();
  return Deadline(socket(), patience);
}

template <typename Payload>
std::unique_ptr<Arc::PayloadStreamInterface> Connection::send(const Arc::ClientHTTPAttributes& attributes,
                                                              Payload& content, HttpReply& reply) {
  Arc::HTTPClientInfo info{};
  Arc::PayloadStreamInterface* raw = nullptr;
  const Arc::MCC_Status status = client_->process(attributes, &content, &info, &raw);
  std::unique_ptr<Arc::PayloadStreamInterface> answer(raw);
  if (!status) throw std::runtime_error(status.getExplanation().empty() ? "no answer" : status.getExplanation());
  // A-REX sends the head and the body of an answer apart, and the second waits until we acknowledge the first, which our
  // kernel delays by 40 ms. It is told not to when the head has come, which is now: it has no effect earlier, nor for long.
  set_tcp_option(TCP_QUICKACK);
  reply.code = info.code;
  reply.reason = rust::String::lossy(info.reason);
  reply.location = rust::String::lossy(info.location.Path());
  reply.size = info.size == static_cast<std::uint64_t>(-1) ? -1 : static_cast<std::int64_t>(info.size);
  return answer;
}

HttpReply Connection::request(rust::Str method, rust::Str path, rust::Str accept,
                              rust::Slice<const std::uint8_t> content) {
  std::multimap<std::string, std::string> headers{{"Accept", std::string(accept)}};
  const Arc::ClientHTTPAttributes attributes{std::string(method), std::string(path), headers};
  Arc::PayloadRaw payload;
  if (!content.empty())
    payload.Insert(reinterpret_cast<const char*>(content.data()), static_cast<Arc::PayloadRawInterface::Size_t>(0),
                   static_cast<Arc::PayloadRawInterface::Size_t>(content.size()));
  HttpReply reply{};
  body_.clear();
  const Deadline deadline = begin(longest_request);
  auto answer = send(attributes, payload, reply);
  if (answer) {
    char buffer[16384];
    for (int size = sizeof(buffer); answer->Get(buffer, size); size = sizeof(buffer)) {
      if (body_.size() + static_cast<std::size_t>(size) > largest_body) give_up(answer, "the answer is too long");
      body_.append(buffer, static_cast<std::size_t>(size));
    }
  }
  if (reply.size >= 0 && static_cast<std::size_t>(reply.size) != body_.size())
    throw std::runtime_error("the answer ended after " + Arc::tostring(body_.size()) + " of " +
                             Arc::tostring(reply.size) + " bytes");
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
  Deadline deadline = begin(longest_request);
  auto answer = send(attributes, nothing, reply);
  if (reply.size > 0) deadline.extend(transfer_time(static_cast<std::uint64_t>(reply.size)));
  std::int64_t received = 0;
  if (answer) {
    // Its size is a good part of the memory that a transfer takes, so it is not held between two.
    std::unique_ptr<char[]> buffer(new char[buffer_size]);
    for (int size = buffer_size; answer->Get(buffer.get(), size); size = buffer_size) {
      received += size;
      if (reply.code != 200) continue;
      for (int written = 0; written < size;) {
        const ssize_t done = ::write(file, buffer.get() + written, static_cast<std::size_t>(size - written));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) give_up(answer, "cannot write: " + std::generic_category().message(errno));
        written += static_cast<int>(done);
      }
    }
  }
  if (reply.size >= 0 && received != reply.size)
    throw std::runtime_error("the file ended after " + Arc::tostring(received) + " of " + Arc::tostring(reply.size) +
                             " bytes");
  broken_ = false;
  return reply;
}

HttpReply Connection::upload(rust::Str path, std::int32_t file, std::uint64_t size) {
  const Arc::ClientHTTPAttributes attributes{"PUT", std::string(path)};
  FileContent content(file, size);
  HttpReply reply{};
  const Deadline deadline = begin(longest_request + transfer_time(size));
  auto answer = send(attributes, content, reply);
  body_.clear();
  if (answer) {
    char buffer[4096];
    for (int length = sizeof(buffer); answer->Get(buffer, length); length = sizeof(buffer)) {
      if (body_.size() > largest_refusal) give_up(answer, "the answer is too long");
      body_.append(buffer, static_cast<std::size_t>(length));
    }
  }
  if (!content.whole()) throw std::runtime_error("the local file became shorter while it was sent");
  broken_ = false;
  return reply;
}

} // namespace jasmin_arc
