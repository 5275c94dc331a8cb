#include "http.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <stdexcept>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include <arc/StringConv.h>
#include <arc/message/MCC.h>
#include <arc/message/MCCLoader.h>
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

// The text of a refusal to download is not read to its end.
constexpr std::uint64_t max_refusal = 1024 * 1024;

constexpr int download_buffer = 1024 * 1024;

// What a broken range may lose.
constexpr int range_buffer = 64 * 1024;

// The time limit of a request. A busy A-REX needs tens of seconds for hundreds of jobs.
constexpr std::chrono::seconds request_limit(600);

// The time that a file adds to the limit: a transfer slower than 16 KiB/s is given up.
std::chrono::seconds transfer_limit(std::uint64_t size) { return std::chrono::seconds(size / (16 * 1024)); }

// Ends a response that is not read to its end. ARC's destructor of a chunked response would read the rest of it
// (PayloadHTTPIn::flush_chunked), which may have no end.
class Stop {
public:
  explicit Stop(Guard& guard) : guard_(guard) {}
  ~Stop() {
    if (!guard_.complete()) guard_.stop();
  }
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;

private:
  Guard& guard_;
};

[[noreturn]] void refuse_length(std::size_t limit) {
  throw Refused(Refused::Kind::invalid_response, "the response is longer than " + Arc::tostring(limit) + " bytes");
}

// Reads the body of a response, if it has one.
std::string read_body(Arc::PayloadStreamInterface* response, std::size_t limit) {
  std::string body;
  if (!response) return body;
  char buffer[16384];
  for (int size = sizeof(buffer); response->Get(buffer, size); size = sizeof(buffer)) {
    if (body.size() + static_cast<std::size_t>(size) > limit) refuse_length(limit);
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

} // namespace

// Makes the components, of which the one for TCP is left out: it would connect at once.
Arc::MCC_Status HttpClient::Load() {
  if (http_entry) return Arc::MCC_Status(Arc::STATUS_OK);
  Arc::XMLNode chain = xmlcfg["Chain"];
  for (int index = 0; chain["Component"][index];) {
    Arc::XMLNode component = chain["Component"][index];
    if (static_cast<std::string>(component.Attribute("id")) == "tcp") {
      component.Destroy();
      continue;
    }
    if (static_cast<std::string>(component["next"].Attribute("id")) == "tcp") component["next"].Destroy();
    ++index;
  }
  const Arc::MCC_Status status = Arc::ClientInterface::Load();
  if (!status) return status;
  tls_entry = (*loader)["tls"];
  http_entry = (*loader)["http"];
  if (!http_entry) return Arc::MCC_Status(Arc::GENERIC_ERROR, "COMMUNICATION", "ARC has no HTTP client");
  return status;
}

Connection::Connection(const Session& session, const std::string& url, const std::string& token, unsigned int timeout)
    : session_(session), url_(url), token_(token), timeout_(timeout), idle_end_(Transport::Clock::now() + timeout_),
      deadline_(Transport::Clock::time_point::max()) {}

// TLS sends the notice that it closes. ARC would also wait for the server's (~PayloadTLSMCC).
Connection::~Connection() {
  close();
  OPENSSL_cleanse(token_.data(), token_.size());
}

void Connection::close() {
  if (transport_) transport_->set_deadline(Transport::Clock::now());
  if (guard_) guard_->stop();
  tls_.reset();
  client_.reset();
}

void Connection::set_limits(std::uint64_t idle, std::uint64_t call, rust::Box<Cancel> cancel) {
  using std::chrono::milliseconds;
  // More than a century does not fit into the clock.
  const auto end = [now = Transport::Clock::now()](std::uint64_t left) {
    constexpr std::uint64_t century = 100ULL * 366 * 24 * 3600 * 1000;
    return left < century ? now + milliseconds(left) : Transport::Clock::time_point::max();
  };
  limits_ = std::make_unique<Transport::Limits>();
  limits_->idle_end = end(idle);
  limits_->call_end = end(call);
  if (!cancel->possible()) return;
  const auto shared = std::make_shared<rust::Box<Cancel>>(std::move(cancel));
  limits_->cancelled = [shared] { return (*shared)->requested(); };
}

std::uint64_t Connection::idle_left() const {
  const auto end = transport_ ? transport_->idle_end() : idle_end_;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Transport::Clock::now()).count();
  return static_cast<std::uint64_t>(std::max<long long>(left, 0));
}

Transport::Limits Connection::take_limits() {
  Transport::Limits limits{Transport::Clock::now() + timeout_, Transport::Clock::time_point::max(), {}};
  if (limits_) limits = *limits_;
  limits_.reset();
  idle_end_ = limits.idle_end;
  return limits;
}

std::unique_ptr<Connection> new_connection(const Session& session, rust::Str url, rust::Str token,
                                          std::uint32_t timeout) {
  return std::make_unique<Connection>(session, std::string(url), std::string(token), timeout);
}

void Connection::open() {
  if (client_) return;
  try {
    connect();
    verify();
  } catch (...) {
    const Transport::Stop stop = transport_ ? transport_->stop() : Transport::Stop::none;
    close(); // so that the next request connects again
    throw_if_stopped(stop);
    throw;
  }
  transport_->end_phase();
}

// Connects, and begins TLS.
void Connection::connect() {
  const Arc::URL url(url_);
  transport_ = std::make_unique<Transport>(timeout_);
  guard_ = std::make_unique<Guard>(*transport_);
  transport_->set_limits(take_limits());
  transport_->set_deadline(deadline_);
  transport_->begin_phase(" while connecting");
  std::string host = url.Host();
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  transport_->connect(host, url.Port());

  Arc::MCCConfig config;
  session_.config().ApplyToConfig(config);
  if (!token_.empty()) {
    // ClientHTTP then shows no certificate and adds the token to each request (http_url_to_sec).
    config.AddProxy("");
    config.AddOToken(token_);
  }
  client_.reset(new HttpClient(config, url, static_cast<int>(timeout_.count())));
  const Arc::MCC_Status status = client_->Load();
  if (!status) throw std::runtime_error(status.getExplanation());
  if (Arc::MCC* const tls = client_->tls()) {
    tls->Next(transport_.get()); // makes the handshake
    guard_->set_next(*tls);
  } else {
    guard_->set_next(*transport_);
  }
  client_->http()->Next(guard_.get());
}

// Fails unless the TLS handshake succeeded and the server's certificate names the host.
void Connection::verify() {
  const std::string host = Arc::URL(url_).Host();
  Arc::MCC* const tls = client_->tls();
  if (!tls) {
    if (!session_.verify_host()) return;
    throw Refused(Refused::Kind::untrusted, "without HTTPS, nothing proves that the CE is " + host);
  }
  // ARC's TLS component shows the certificate only to those that send a message (MCC_TLS_Client::process). A message
  // without content sends nothing.
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
  // Kept because it can read an alert after a request that could not be sent.
  Arc::MessagePayload* const payload = response.Payload(nullptr);
  tls_.reset(dynamic_cast<Stream*>(payload));
  if (!tls_) delete payload;
  if (!status) throw std::runtime_error(status.getExplanation());
  if (!session_.verify_host()) return;
  Arc::SecAttr* const attributes = request.Auth()->get("TLS");
  const std::string other = other_name(attributes ? attributes->get("CERTIFICATE") : "", host);
  if (!other.empty())
    throw Refused(Refused::Kind::untrusted, "the certificate of the CE is for " + other + ", not for " + host);
}

void Connection::throw_if_stopped(Transport::Stop stop) const {
  switch (stop) {
  case Transport::Stop::none: return;
  case Transport::Stop::timed_out: throw Refused(Refused::Kind::timed_out, transport_->why_stopped());
  case Transport::Stop::deadline: throw Refused(Refused::Kind::deadline, transport_->why_stopped());
  case Transport::Stop::cancelled: throw Refused(Refused::Kind::cancelled, transport_->why_stopped());
  }
}

// The TLS alert that came instead of the first response. With TLS 1.3 a server refuses the certificate of its client
// after the client has finished the handshake, and ARC says only that the connection was closed.
std::string Connection::alert() const {
  if (answered_ || !guard_ || !tls_) return "";
  std::string why = guard_->read_failure();
  if (why.empty() && transport_->write_failed()) {
    char byte;
    int size = 1;
    if (!tls_->Get(&byte, size)) why = tls_->Failure().getExplanation();
  }
  return why.find(" alert ") == std::string::npos ? "" : why;
}

// Fails a request: because of a time limit, of a response that is refused, or of what ARC reports.
void Connection::fail(const std::string& why) {
  if (transport_) throw_if_stopped(transport_->stop());
  if (guard_ && !guard_->refusal().empty()) throw Refused(Refused::Kind::invalid_response, guard_->refusal());
  const std::string why_closed = alert();
  if (!why_closed.empty()) throw std::runtime_error(why_closed);
  throw std::runtime_error(why);
}

bool Connection::usable() const {
  if (broken_ || !client_ || client_->GetClosed() || socket() < 0 || !guard_->clean()) return false;
  // No data is due between two requests. A readable socket has been closed, holds TLS's notice that it will be, or
  // holds data that belongs to no request.
  pollfd state{socket(), POLLIN, 0};
  return ::poll(&state, 1, 0) == 0;
}

bool Connection::sent() const { return guard_ && guard_->sent(); }

// Prepares a request. The time limit includes connecting.
void Connection::begin(std::chrono::seconds time_limit) {
  if (guard_) guard_->begin_request();
  if (broken_) throw std::runtime_error("the connection is not usable");
  deadline_ = Transport::Clock::now() + time_limit;
  if (client_)
    transport_->set_limits(take_limits());
  else
    answered_ = false;
  open();
  broken_ = true; // until the whole response has been read
  transport_->set_deadline(deadline_);
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
  if (!status) fail(status.getExplanation().empty() ? "no response" : status.getExplanation());
  // A-REX writes the head and the body of a response separately, and its body waits until our kernel acknowledges the
  // head, which it delays by 40 ms. TCP_QUICKACK ends that delay. It works only after the head has arrived, and the
  // kernel soon resets it, so it is set for each response.
  const int on = 1;
  ::setsockopt(socket(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
  reply.code = info.code;
  reply.reason = rust::String::lossy(info.reason);
  reply.retry_after = rust::String::lossy(guard_->retry_after());
  reply.location = rust::String::lossy(info.location.Path());
  reply.size = info.size == static_cast<std::uint64_t>(-1) ? -1 : static_cast<std::int64_t>(info.size);
  return response;
}

// Makes sure that the response is complete. `received` is the size of its body.
void Connection::end(const HttpReply& reply, std::uint64_t received) {
  guard_->finish();
  if (guard_->complete() && (reply.size < 0 || static_cast<std::uint64_t>(reply.size) == received)) {
    answered_ = true;
    return;
  }
  fail(reply.size < 0
           ? "the response ended early"
           : "the response ended after " + Arc::tostring(received) + " of " + Arc::tostring(reply.size) + " bytes");
}

HttpReply Connection::request(rust::Str method, rust::Str path, rust::Str accept,
                              rust::Slice<const std::uint8_t> content) {
  std::multimap<std::string, std::string> headers{{"Accept", std::string(accept)}};
  // Without it, A-REX descends 10 directories and follows links while it does (ProcessPROPFIND in 6.17 and 7.0).
  if (method == "PROPFIND") headers.emplace("Depth", "1");
  const Arc::ClientHTTPAttributes attributes{std::string(method), std::string(path), headers};
  Arc::PayloadRaw payload;
  if (!content.empty())
    payload.Insert(reinterpret_cast<const char*>(content.data()), static_cast<Arc::PayloadRawInterface::Size_t>(0),
                   static_cast<Arc::PayloadRawInterface::Size_t>(content.size()));
  HttpReply reply{};
  body_.clear();
  begin(request_limit);
  const auto response = send(attributes, payload, reply);
  const Stop stop(*guard_);
  body_ = read_body(response.get(), max_body);
  end(reply, body_.size());
  broken_ = false;
  return reply;
}

rust::Slice<const std::uint8_t> Connection::body() const {
  return {reinterpret_cast<const std::uint8_t*>(body_.data()), body_.size()};
}

HttpReply Connection::download(rust::Str path, std::int32_t file, std::uint64_t limit) {
  const Arc::ClientHTTPAttributes attributes{"GET", std::string(path)};
  Arc::PayloadRaw nothing;
  HttpReply reply{};
  begin(request_limit);
  const auto response = send(attributes, nothing, reply);
  const Stop stop(*guard_);
  if (reply.size > 0) transport_->set_deadline(deadline_ + transfer_limit(static_cast<std::uint64_t>(reply.size)));
  const bool is_kept = reply.code == 200;
  reply.over_limit = is_kept && reply.size > 0 && static_cast<std::uint64_t>(reply.size) > limit;
  if (reply.over_limit) return reply;
  std::uint64_t received = 0;
  if (response) {
    // The buffer is most of the memory that a transfer takes, so an idle connection does not keep it.
    const std::unique_ptr<char[]> buffer(new char[download_buffer]);
    for (int size = download_buffer; response->Get(buffer.get(), size); size = download_buffer) {
      received += static_cast<std::uint64_t>(size);
      reply.over_limit = received > (is_kept ? limit : max_refusal);
      if (reply.over_limit) return reply;
      if (is_kept && !write_all(file, buffer.get(), size)) {
        reply.local_error = errno;
        return reply;
      }
    }
  }
  end(reply, received);
  broken_ = false;
  return reply;
}

HttpReply Connection::read_range(rust::Str path, std::uint64_t first, std::uint64_t length, std::int32_t file) {
  // Both ends are part of a range in HTTP.
  const std::string start = Arc::tostring(first) + "-";
  const std::multimap<std::string, std::string> headers{
      {"Range", "bytes=" + start + Arc::tostring(first + std::max<std::uint64_t>(length, 1) - 1)}};
  const Arc::ClientHTTPAttributes attributes{"GET", std::string(path), headers};
  Arc::PayloadRaw nothing;
  HttpReply reply{};
  body_.clear();
  begin(request_limit);
  const auto response = send(attributes, nothing, reply);
  const Stop stop(*guard_);
  const bool is_part = reply.code == 206;
  const bool is_kept = is_part || reply.code == 200;
  if (is_part && guard_->content_range().rfind("bytes " + start, 0) != 0)
    throw Refused(Refused::Kind::invalid_response,
                  "the response has another range than the request: " + guard_->content_range());
  // "bytes 0-99/1234". An asterisk for an unknown size leaves 0.
  if (const auto slash = guard_->content_range().rfind('/'); is_part && slash != std::string::npos)
    if (!Arc::stringto(guard_->content_range().substr(slash + 1), reply.total)) reply.total = 0;
  if (reply.code == 200 && reply.size > 0) reply.total = static_cast<std::uint64_t>(reply.size);
  if (reply.size > 0) transport_->set_deadline(deadline_ + transfer_limit(static_cast<std::uint64_t>(reply.size)));
  std::uint64_t received = 0;
  std::uint64_t skip = is_part ? 0 : first;
  std::uint64_t left = length;
  if (response) {
    const std::unique_ptr<char[]> buffer(new char[range_buffer]);
    for (int size = range_buffer; response->Get(buffer.get(), size); size = range_buffer) {
      received += static_cast<std::uint64_t>(size);
      if (!is_kept) {
        if (received > max_refusal) return reply;
        continue;
      }
      const auto skipped = static_cast<int>(std::min<std::uint64_t>(skip, static_cast<std::uint64_t>(size)));
      skip -= static_cast<std::uint64_t>(skipped);
      const auto part = static_cast<int>(std::min<std::uint64_t>(left, static_cast<std::uint64_t>(size - skipped)));
      left -= static_cast<std::uint64_t>(part);
      if (file < 0) {
        body_.append(buffer.get() + skipped, static_cast<std::size_t>(part));
      } else if (!write_all(file, buffer.get() + skipped, part)) {
        reply.local_error = errno;
        return reply;
      }
      // The rest is not read, so the connection is not used again.
      if (skipped + part < size) return reply;
    }
  }
  end(reply, received);
  broken_ = false;
  return reply;
}

HttpReply Connection::upload(rust::Str path, std::int32_t file, std::uint64_t size) {
  const Arc::ClientHTTPAttributes attributes{"PUT", std::string(path)};
  HttpReply reply{};
  body_.clear();
  begin(request_limit + transfer_limit(size));
  FileContent content(file, size, socket());
  try {
    const auto response = send(attributes, content, reply);
    const Stop stop(*guard_);
    body_ = read_body(response.get(), max_upload_response);
    end(reply, body_.size());
    reply.size = static_cast<std::int64_t>(body_.size());
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
