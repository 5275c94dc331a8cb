#include "file_content.h"

#include <algorithm>
#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

namespace jasmin_arc {

FileContent::FileContent(int file, std::uint64_t size, int socket)
    : file_(file), size_(static_cast<Size_t>(size)), socket_(socket) {}

bool FileContent::Get(char* buffer, int& size) {
  const Size_t wanted = std::min(size_ - position_, static_cast<Size_t>(size));
  size = 0;
  if (wanted <= 0 || error_ != 0) return false;
  ssize_t got;
  do {
    got = ::pread(file_, buffer, static_cast<std::size_t>(wanted), static_cast<off_t>(position_));
  } while (got < 0 && errno == EINTR);
  if (got <= 0) {
    fail(got < 0 ? errno : ENODATA);
    return false;
  }
  size = static_cast<int>(got);
  position_ += got;
  return true;
}

// ARC takes a Get that fails for the end of the body (PayloadHTTPOut::FlushBody in 6.17) and waits for the response,
// while the server waits for the rest of the body. The request fails at once if the connection is shut down.
void FileContent::fail(int error) {
  error_ = error;
  if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
}

} // namespace jasmin_arc
