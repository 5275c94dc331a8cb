#include "transport.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <list>
#include <memory>
#include <stdexcept>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arc/HostnameResolver.h>
#include <arc/StringConv.h>
#include <arc/Utils.h>
#include <arc/message/PayloadRaw.h>
#include <arc/message/PayloadStream.h>

namespace jasmin_arc {

namespace {

// What the TLS component reads from and writes to. It owns the stream, but not the connection.
class TransportStream : public Arc::PayloadStreamInterface {
public:
  explicit TransportStream(Transport& transport) : transport_(transport) {}

  bool Get(char* buffer, int& size) override { return transport_.read(buffer, size) || fail(); }
  using Arc::PayloadStreamInterface::Get;
  bool Put(const char* data, Size_t size) override {
    return transport_.write(data, static_cast<std::size_t>(size)) || fail();
  }
  using Arc::PayloadStreamInterface::Put;
  operator bool() override { return transport_.socket() >= 0; }
  bool operator!() override { return transport_.socket() < 0; }
  int Timeout() const override { return 0; }
  void Timeout(int) override {}
  Size_t Pos() const override { return 0; }
  Size_t Size() const override { return 0; }
  Size_t Limit() const override { return 0; }

private:
  bool fail() {
    if (!transport_.timed_out().empty()) failure_ = Arc::MCC_Status(Arc::GENERIC_ERROR, "TCP", transport_.timed_out());
    return false;
  }

  Transport& transport_;
};

using Addresses = std::list<Arc::HostnameResolver::SockAddr>;

// A helper process of ARC resolves names, so that a slow resolver does not disturb this process.
Addresses resolve(const std::string& host, int port) {
  Addresses addresses;
  Arc::HostnameResolver* const resolver = Arc::HostnameResolver::Acquire();
  const int result = resolver->hr_resolve(host, Arc::tostring(port), false, addresses);
  Arc::HostnameResolver::Release(resolver);
  if (result != 0 || addresses.empty())
    throw std::runtime_error("Failed to resolve " + host + " (" + (result == 0 ? "no address" : gai_strerror(result)) +
                             ")");
  return addresses;
}

} // namespace

Transport::Transport(std::chrono::seconds timeout) : Arc::MCCInterface(nullptr), timeout_(timeout) {}

Transport::~Transport() {
  if (socket_ >= 0) ::close(socket_);
}

void Transport::begin_phase(const char* what) {
  phase_ = what;
  phase_end_ = Clock::now() + timeout_;
}

// Waits until the socket can be read or written. Returns false and sets timed_out_ if a limit is reached first; `until`
// is a limit of the caller's, which it reports itself.
bool Transport::wait(int socket, short events, Clock::time_point until) {
  if (!timed_out_.empty()) return false;
  const Clock::time_point idle = Clock::now() + timeout_;
  while (true) {
    Clock::time_point end = std::min({idle, deadline_, until});
    if (phase_) end = std::min(end, phase_end_);
    const Clock::time_point now = Clock::now();
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - now).count();
    pollfd state{socket, events, 0};
    const int ready = ::poll(&state, 1, static_cast<int>(std::clamp<long long>(left, 0, INT_MAX)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (Clock::now() < end) continue;
    if (end == until) return false;
    const std::string seconds = Arc::tostring(timeout_.count()) + " s";
    if (end == deadline_)
      timed_out_ = "the request was not complete within its time limit";
    else if (phase_)
      timed_out_ = "no response within " + seconds + phase_;
    else
      timed_out_ = "nothing was transferred for " + seconds;
    return false;
  }
}

// Returns a connected socket, or -1 and sets `error`: ETIMEDOUT if a limit is reached.
int Transport::connect_to(const void* address, std::size_t length, Clock::time_point until, int& error) {
  const auto* const target = static_cast<const sockaddr*>(address);
  const int socket = ::socket(target->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (socket < 0) {
    error = errno;
    return -1;
  }
  error = 0;
  if (::connect(socket, target, static_cast<socklen_t>(length)) != 0) {
    error = errno;
    if (error == EINPROGRESS || error == EINTR) {
      socklen_t size = sizeof(error);
      if (!wait(socket, POLLOUT, until))
        error = ETIMEDOUT;
      else if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    }
  }
  if (error == 0) return socket;
  ::close(socket);
  return -1;
}

void Transport::connect(const std::string& host, int port) {
  const Addresses addresses = resolve(host, port);
  std::size_t left = addresses.size();
  int error = 0;
  for (const auto& address : addresses) {
    // An address that does not answer leaves time for the others.
    const Clock::time_point now = Clock::now();
    const Clock::time_point until =
        left > 1 ? now + std::chrono::duration_cast<Clock::duration>(timeout_) / static_cast<int>(left)
                 : Clock::time_point::max();
    --left;
    socket_ = connect_to(address.Addr(), address.Length(), until, error);
    if (socket_ >= 0 || !timed_out_.empty()) break;
  }
  const std::string target = host + ":" + Arc::tostring(port);
  if (error == ETIMEDOUT)
    throw std::runtime_error("Timeout connecting to " + target + " - " + Arc::tostring(timeout_.count()) + " s");
  if (socket_ < 0) throw std::runtime_error("Failed to connect to " + target + " - " + Arc::StrError(error));
  // ARC writes the head and the body of a request separately. With Nagle's algorithm the body waits until the server
  // acknowledges the head, which the server's kernel delays by 40 ms.
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

bool Transport::read(char* buffer, int& size) {
  const int wanted = size;
  size = 0;
  if (socket_ < 0 || wanted <= 0) return false;
  while (true) {
    const ssize_t count = ::recv(socket_, buffer, static_cast<std::size_t>(wanted), 0);
    if (count > 0) {
      size = static_cast<int>(count);
      // The limits hold even if bytes keep coming.
      const Clock::time_point now = Clock::now();
      return (now < deadline_ && (!phase_ || now < phase_end_)) || wait(socket_, 0);
    }
    if (count == 0) return false;
    if (errno == EINTR) continue;
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait(socket_, POLLIN)) return false;
  }
}

bool Transport::write(const char* data, std::size_t size) {
  // What follows a gap is of no use to the server.
  if (write_failed_) return false;
  write_failed_ = true; // unless everything is sent
  while (size > 0) {
    if (socket_ < 0) return false;
    const ssize_t count = ::send(socket_, data, size, MSG_NOSIGNAL);
    if (count > 0) {
      data += count;
      size -= static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait(socket_, POLLOUT)) return false;
  }
  write_failed_ = false;
  return true;
}

Arc::MCC_Status Transport::process(Arc::Message& request, Arc::Message& response) {
  if (socket_ < 0) return Arc::MCC_Status(Arc::GENERIC_ERROR, "TCP", "not connected");
  auto stream = std::make_unique<TransportStream>(*this);
  bool sent = false;
  if (auto* const raw = dynamic_cast<Arc::PayloadRawInterface*>(request.Payload())) {
    sent = true;
    for (unsigned int index = 0; sent; ++index) {
      const char* const buffer = raw->Buffer(index);
      if (!buffer) break;
      sent = write(buffer, static_cast<std::size_t>(raw->BufferSize(index)));
    }
  } else if (auto* const source = dynamic_cast<Arc::PayloadStreamInterface*>(request.Payload())) {
    // Its result is false at the end of the source, too (MCC_TCP_Client::process in ARC).
    int everything = -1;
    source->Get(*stream, everything);
    sent = timed_out_.empty();
  }
  if (!sent)
    return Arc::MCC_Status(Arc::GENERIC_ERROR, "TCP", timed_out_.empty() ? "Connection was closed" : timed_out_);
  response.Payload(stream.release());
  return Arc::MCC_Status(Arc::STATUS_OK);
}

} // namespace jasmin_arc
