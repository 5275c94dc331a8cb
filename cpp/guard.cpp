#include "guard.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <strings.h>

namespace jasmin_arc {

namespace {

// ARC takes a longer line for the end of the head (PayloadHTTPIn::readline).
constexpr std::size_t max_line = 4000;

// Of a head, and of the trailer of a chunked body.
constexpr std::size_t max_lines = 64 * 1024;

// The largest TLS record. A read of this size leaves nothing behind in OpenSSL, where a poll of the socket would not
// see it.
constexpr std::size_t record = 16 * 1024;

const char* prefix(Refused::Kind kind) {
  switch (kind) {
  case Refused::Kind::untrusted: return "jasmin_arc: untrusted: ";
  case Refused::Kind::invalid_response: return "jasmin_arc: invalid response: ";
  case Refused::Kind::deadline: return "jasmin_arc: deadline: ";
  case Refused::Kind::cancelled: return "jasmin_arc: cancelled: ";
  default: return "jasmin_arc: timed out: ";
  }
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_token(char c) { return c > ' ' && c < 0x7f && !std::strchr("\"(),/:;<=>?@[\\]{}", c); }

bool is_control(char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f; }

int hex(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool equal(const std::string& a, const char* b) { return strcasecmp(a.c_str(), b) == 0; }

} // namespace

Refused::Refused(Kind kind, const std::string& why) : std::runtime_error(prefix(kind) + why) {}

void Framing::refuse(const char* why) {
  state_ = State::refused;
  why_ = std::string("the response ") + why;
}

// Adds bytes to the current line. Returns true when the line is complete, and removes its end.
bool Framing::add_to_line(const char* data, std::size_t size, std::size_t& taken) {
  const auto* const end = static_cast<const char*>(std::memchr(data, '\n', size));
  taken = end ? static_cast<std::size_t>(end - data) + 1 : size;
  size_of_lines_ += taken;
  if (line_.size() + taken > max_line + 2) {
    refuse("has a line of more than 4000 bytes");
    return false;
  }
  if (size_of_lines_ > max_lines) {
    refuse("has a head of more than 64 KiB");
    return false;
  }
  line_.append(data, end ? taken - 1 : taken);
  if (!end) return false;
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  if (std::any_of(line_.begin(), line_.end(), is_control)) {
    refuse("has control characters in its head");
    return false;
  }
  return true;
}

std::size_t Framing::take_head(const char* data, std::size_t size) {
  std::size_t total = 0;
  while (total < size && !head_complete()) {
    std::size_t taken = 0;
    const bool complete = add_to_line(data + total, size - total, taken);
    head_.append(data + total, taken);
    total += taken;
    if (refused() || !complete) continue;
    if (state_ == State::status)
      status_line();
    else if (line_.empty())
      end_of_head();
    else
      field();
    line_.clear();
  }
  return total;
}

// HTTP/1.1 200 OK
void Framing::status_line() {
  const bool is_http = (line_.compare(0, 9, "HTTP/1.1 ") == 0 || line_.compare(0, 9, "HTTP/1.0 ") == 0) &&
                       line_.size() >= 13 && line_[9] >= '1' && line_[9] <= '5' && is_digit(line_[10]) &&
                       is_digit(line_[11]) && line_[12] == ' ';
  if (!is_http) return refuse("is not HTTP/1.1");
  code_ = std::stoi(line_.substr(9, 3));
  if (code_ == 101) return refuse("switches to another protocol");
  state_ = State::head;
}

void Framing::field() {
  const std::size_t colon = line_.find(':');
  if (colon == 0 || colon == std::string::npos ||
      !std::all_of(line_.begin(), line_.begin() + static_cast<long>(colon), is_token))
    return refuse("has a line in its head that is no header");
  const std::string name = line_.substr(0, colon);
  const std::size_t first = line_.find_first_not_of(" \t", colon + 1);
  const std::string value =
      first == std::string::npos ? "" : line_.substr(first, line_.find_last_not_of(" \t") - first + 1);
  if (equal(name, "retry-after")) retry_after_ = value;
  if (equal(name, "content-range")) content_range_ = value;
  if (equal(name, "content-length")) {
    if (sized_) return refuse("has two lengths");
    if (value.empty() || value.size() > 18 || !std::all_of(value.begin(), value.end(), is_digit))
      return refuse("has a length that is no number");
    sized_ = true;
    left_ = std::stoull(value);
  } else if (equal(name, "transfer-encoding")) {
    if (chunked_ || !equal(value, "chunked")) return refuse("has an unknown transfer encoding");
    chunked_ = true;
  } else if (equal(name, "content-encoding")) {
    if (!equal(value, "identity")) return refuse("is encoded, which was not asked for");
  } else if (equal(name, "content-type")) {
    if (strncasecmp(value.c_str(), "multipart/", 10) == 0) return refuse("consists of several parts");
  }
}

void Framing::end_of_head() {
  if (code_ < 200) {
    // A preliminary response has no body. The response follows it, within the same limit for heads.
    if (sized_ || chunked_) return refuse("has a body after a preliminary status");
    head_.clear();
    state_ = State::status;
    return;
  }
  if (sized_ && chunked_) return refuse("has both a length and chunks");
  if (code_ == 204 || code_ == 304) {
    if (chunked_ || (sized_ && left_ > 0)) return refuse("has a body that its status excludes");
    state_ = State::complete;
  } else if (chunked_) {
    size_of_lines_ = 0;
    state_ = State::chunk_size;
  } else if (sized_) {
    state_ = left_ > 0 ? State::body : State::complete;
  } else if (code_ < 300) {
    // Nobody could tell a whole body from one that was cut off.
    return refuse("has no length");
  } else {
    state_ = State::until_close;
  }
}

std::size_t Framing::take_body(const char* data, std::size_t size) {
  std::size_t total = 0;
  while (total < size) {
    switch (state_) {
    case State::complete:
    case State::refused: return total;
    case State::until_close: return size;
    case State::body:
    case State::chunk: {
      const std::uint64_t part = std::min<std::uint64_t>(left_, size - total);
      total += static_cast<std::size_t>(part);
      left_ -= part;
      if (left_ == 0) state_ = state_ == State::body ? State::complete : State::chunk_end;
      break;
    }
    default: {
      // Only a trailer is limited as a whole, since a body may have any number of chunks.
      if (state_ != State::trailer) size_of_lines_ = line_.size();
      std::size_t taken = 0;
      const bool complete = add_to_line(data + total, size - total, taken);
      total += taken;
      if (refused() || !complete) break;
      framing_line();
      line_.clear();
    }
    }
  }
  return total;
}

// A line of the framing of chunks.
void Framing::framing_line() {
  if (state_ == State::trailer) {
    if (line_.empty()) state_ = State::complete;
    return;
  }
  if (state_ == State::chunk_end) {
    if (!line_.empty()) return refuse("has a chunk that is longer than its size");
    state_ = State::chunk_size;
    return;
  }
  std::size_t digits = 0;
  left_ = 0;
  for (; digits < line_.size() && hex(line_[digits]) >= 0; ++digits) {
    if (digits == 15) return refuse("has a chunk with a huge size");
    left_ = left_ * 16 + static_cast<std::uint64_t>(hex(line_[digits]));
  }
  if (digits == 0 || (digits < line_.size() && line_[digits] != ';')) return refuse("has a chunk without a size");
  state_ = left_ > 0 ? State::chunk : State::trailer;
}

void Framing::end() {
  if (state_ == State::until_close) state_ = State::complete;
}

/// The response that ARC's HTTP reads.
class GuardedStream : public Arc::PayloadStreamInterface {
public:
  GuardedStream(Arc::PayloadStreamInterface* inner, Guard& guard) : inner_(inner), guard_(guard) {}

  bool Get(char* buffer, int& size) override { return guard_.read(buffer, size); }
  using Arc::PayloadStreamInterface::Get;
  bool Put(const char*, Size_t) override { return false; }
  using Arc::PayloadStreamInterface::Put;
  operator bool() override { return static_cast<bool>(*inner_); }
  bool operator!() override { return !*inner_; }
  int Timeout() const override { return inner_->Timeout(); }
  void Timeout(int timeout) override { inner_->Timeout(timeout); }
  Size_t Pos() const override { return 0; }
  Size_t Size() const override { return 0; }
  Size_t Limit() const override { return 0; }

private:
  const std::unique_ptr<Arc::PayloadStreamInterface> inner_;
  Guard& guard_;
};

Arc::MCC_Status Guard::process(Arc::Message& request, Arc::Message& response) {
  if (!next_ || !clean()) return Arc::MCC_Status(Arc::GENERIC_ERROR, "HTTP", "the connection is not usable");
  inner_ = nullptr;
  framing_ = Framing();
  forwarded_ = 0;
  sent_ = true; // also if an exception is thrown
  const Arc::MCC_Status status = next_->process(request, response);
  // ARC's TLS reports no failure of a request whose body is a stream (MCC_TLS_Client::process).
  if (transport_.write_failed()) sent_ = false;
  if (!status) return status;
  // The request has been sent.
  transport_.begin_phase("");
  auto* const stream = dynamic_cast<Arc::PayloadStreamInterface*>(response.Payload());
  if (!stream) return Arc::MCC_Status(Arc::GENERIC_ERROR, "HTTP", "no response");
  inner_ = stream;
  response.Payload(new GuardedStream(stream, *this));
  return status;
}

// Reads the next bytes into the empty buffer.
bool Guard::fill() {
  buffer_.resize(record);
  int size = static_cast<int>(buffer_.size());
  begin_ = end_ = 0;
  if (!inner_ || !inner_->Get(buffer_.data(), size) || size <= 0) {
    if (inner_) read_failure_ = inner_->Failure().getExplanation();
    if (transport_.stop() == Transport::Stop::none) framing_.end();
    return false;
  }
  end_ = static_cast<std::size_t>(size);
  return true;
}

bool Guard::read(char* buffer, int& size) {
  const std::size_t wanted = size > 0 ? static_cast<std::size_t>(size) : 0;
  size = 0;
  if (stopped_ || wanted == 0) return false;
  // ARC sees the head when it is complete.
  while (!framing_.head_complete()) {
    if (begin_ == end_ && !fill()) return false;
    begin_ += framing_.take_head(buffer_.data() + begin_, end_ - begin_);
    if (framing_.head_complete()) transport_.end_phase();
  }
  if (framing_.refused()) return false;
  if (forwarded_ < framing_.head().size()) {
    const std::size_t part = std::min(wanted, framing_.head().size() - forwarded_);
    std::memcpy(buffer, framing_.head().data() + forwarded_, part);
    forwarded_ += part;
    size = static_cast<int>(part);
    return true;
  }
  if (framing_.complete() || (begin_ == end_ && !fill())) return false;
  const std::size_t part = framing_.take_body(buffer_.data() + begin_, std::min(wanted, end_ - begin_));
  if (framing_.refused() || part == 0) return false;
  std::memcpy(buffer, buffer_.data() + begin_, part);
  begin_ += part;
  size = static_cast<int>(part);
  return true;
}

// ARC reads a chunked body up to the last chunk, and leaves the trailer.
void Guard::finish() {
  char rest[1024];
  for (int size = sizeof(rest); !complete() && read(rest, size); size = sizeof(rest)) {
  }
  if (begin_ == end_) std::vector<char>().swap(buffer_); // an idle connection needs none
}

} // namespace jasmin_arc
