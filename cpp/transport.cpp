#include "transport.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arc/StringConv.h>
#include <arc/Utils.h>
#include <arc/message/PayloadRaw.h>
#include <arc/message/PayloadStream.h>

#include "trycatch.h"

namespace jasmin_arc {

namespace {

// How long a call may go on after it is cancelled.
constexpr std::chrono::milliseconds cancel_interval(20);

// So many bytes that the kernel accepts are progress. They may stay in its buffers, which are much smaller than a long
// upload.
constexpr std::size_t progress_bytes = 64 * 1024;

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
    if (transport_.stop() != Transport::Stop::none)
      failure_ = Arc::MCC_Status(Arc::GENERIC_ERROR, "TCP", transport_.why_stopped());
    return false;
  }

  Transport& transport_;
};

using Addresses = std::list<Arc::HostnameResolver::SockAddr>;

// A look-up that a thread makes, and that its caller may give up.
struct Lookup {
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  int result = -1;
  Addresses addresses;
};

// A helper process of ARC resolves names, so that a slow resolver does not disturb this process.
void look_up(Lookup& lookup, const std::string& host, int port) {
  Addresses addresses;
  int result = EAI_AGAIN;
  const Call call; // exit waits for it
  Arc::HostnameResolver* const resolver = call ? Arc::HostnameResolver::Acquire() : nullptr;
  if (resolver) {
    result = resolver->hr_resolve(host, Arc::tostring(port), false, addresses);
    Arc::HostnameResolver::Release(resolver);
  }
  const std::lock_guard<std::mutex> lock(lookup.mutex);
  lookup.result = result;
  lookup.addresses = addresses;
  lookup.done = true;
  lookup.ended.notify_all();
}

// Signals go to the threads of the program, as before.
class NoSignals {
public:
  NoSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

private:
  sigset_t before_;
};

} // namespace

Transport::Transport(std::chrono::seconds timeout)
    : Arc::MCCInterface(nullptr), timeout_(timeout), limits_{Clock::now() + timeout, Clock::time_point::max(), {}} {}

Transport::~Transport() {
  if (socket_ >= 0) ::close(socket_);
}

void Transport::end_phase() {
  if (phase_ && !*phase_) progress(); // the head of a response
  phase_ = nullptr;
}

void Transport::stop_because(Stop stop, const std::string& why) {
  stop_ = stop;
  why_stopped_ = why;
}

// Whether a limit is reached. The connection then remains stopped.
bool Transport::must_stop() {
  if (stop_ != Stop::none) return true;
  if (limits_.cancelled && limits_.cancelled()) {
    stop_because(Stop::cancelled, "the call was cancelled");
    return true;
  }
  const Clock::time_point now = Clock::now();
  const std::string seconds = Arc::tostring(timeout_.count()) + " s";
  if (now >= limits_.call_end)
    stop_because(Stop::deadline, "the deadline of the call has passed");
  else if (now >= deadline_)
    stop_because(Stop::timed_out, "the request was not complete within its time limit");
  else if (now >= limits_.idle_end)
    stop_because(Stop::timed_out, phase_ ? "no response within " + seconds + phase_
                                         : "nothing was transferred for " + seconds);
  return stop_ != Stop::none;
}

// How long to wait until the next look at the limits.
Transport::Clock::time_point Transport::next_check(Clock::time_point until) const {
  const Clock::time_point end = std::min({limits_.idle_end, limits_.call_end, deadline_, until});
  return limits_.cancelled ? std::min(end, Clock::now() + cancel_interval) : end;
}

// Waits until the socket can be read or written. Returns false if a limit is reached first; `until` is a limit of the
// caller's, which it reports itself.
bool Transport::wait(int socket, short events, Clock::time_point until) {
  while (!must_stop()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_check(until) - Clock::now()).count();
    pollfd state{socket, events, 0};
    const int ready = ::poll(&state, 1, static_cast<int>(std::clamp<long long>(left, 0, INT_MAX)));
    if (ready > 0) return true;
    if ((ready < 0 && errno != EINTR) || Clock::now() >= until) return false;
  }
  return false;
}

// The look-up runs in a thread of its own, because ARC's resolver can be neither interrupted nor given a limit
// (HostnameResolver::hr_resolve). A look-up that takes too long goes on and is forgotten.
Addresses Transport::resolve(const std::string& host, int port) {
  const auto lookup = std::make_shared<Lookup>();
  try {
    const NoSignals no_signals;
    std::thread([lookup, host, port] { look_up(*lookup, host, port); }).detach();
  } catch (const std::system_error&) {
    look_up(*lookup, host, port); // there is no thread to have
  }
  std::unique_lock<std::mutex> lock(lookup->mutex);
  while (!lookup->done && !must_stop()) lookup->ended.wait_until(lock, next_check(Clock::time_point::max()));
  if (!lookup->done) throw std::runtime_error("Timeout resolving " + host);
  if (lookup->result != 0 || lookup->addresses.empty())
    throw std::runtime_error("Failed to resolve " + host + " (" +
                             (lookup->result == 0 ? "no address" : gai_strerror(lookup->result)) + ")");
  return lookup->addresses;
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
    const Clock::time_point until = left > 1 ? now + (limits_.idle_end - now) / static_cast<int>(left)
                                             : Clock::time_point::max();
    --left;
    socket_ = connect_to(address.Addr(), address.Length(), until, error);
    if (socket_ >= 0 || stop_ != Stop::none) break;
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
      if (!phase_) progress();
      return !must_stop(); // the limits hold even if bytes keep coming
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
      written_ += static_cast<std::size_t>(count);
      if (!phase_ && written_ >= progress_bytes) {
        progress();
        written_ = 0;
      }
      if (size > 0 && must_stop()) return false;
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait(socket_, POLLOUT)) return false;
    if (!phase_) progress(); // the server has taken something
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
    sent = stop_ == Stop::none;
  }
  if (!sent)
    return Arc::MCC_Status(Arc::GENERIC_ERROR, "TCP", stop_ == Stop::none ? "Connection was closed" : why_stopped_);
  response.Payload(stream.release());
  return Arc::MCC_Status(Arc::STATUS_OK);
}

} // namespace jasmin_arc
