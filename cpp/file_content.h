// A file as the body of a request.
#pragma once

#include <cstdint>
#include <string>

#include <arc/message/PayloadStream.h>

namespace jasmin_arc {

/// The first `size` bytes of a file, read while they are sent.
class FileContent : public Arc::PayloadStreamInterface {
public:
  /// `socket` is the connection that the file is sent on, -1 if it is unknown.
  FileContent(int file, std::uint64_t size, int socket);

  /// The errno with which reading failed, ENODATA if the file ended early, or 0.
  int error() const { return error_; }
  /// Whether ARC has read all of it.
  bool complete() const { return position_ == size_; }

  bool Get(char* buffer, int& size) override;
  using Arc::PayloadStreamInterface::Get;
  bool Put(const char*, Size_t) override { return false; }
  using Arc::PayloadStreamInterface::Put;
  operator bool() override { return error_ == 0; }
  bool operator!() override { return error_ != 0; }
  int Timeout() const override { return 0; }
  void Timeout(int) override {}
  Size_t Pos() const override { return position_; }
  Size_t Size() const override { return size_; }
  Size_t Limit() const override { return size_; }

private:
  void fail(int error);

  const int file_;
  const Size_t size_;
  const int socket_;
  Size_t position_ = 0;
  int error_ = 0;
};

} // namespace jasmin_arc
