#include "sockets.h"

#include <cstdlib>
#include <memory>

#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace jasmin_arc {

namespace {

std::uint16_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return 0;
}

} // namespace

Ports ports_of(int descriptor) {
  sockaddr_storage local{}, remote{};
  socklen_t length = sizeof(local);
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&local), &length) != 0) return {0, 0};
  length = sizeof(remote);
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&remote), &length) != 0) return {0, 0};
  return {port_of(local), port_of(remote)};
}

Sockets sockets_to(int port) {
  Sockets found;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), &closedir);
  if (!directory) return found;
  while (const dirent* entry = readdir(directory.get())) {
    char* end = nullptr;
    const long descriptor = std::strtol(entry->d_name, &end, 10);
    if (*end != '\0' || end == entry->d_name) continue;
    const Ports ports = ports_of(static_cast<int>(descriptor));
    if (ports.second == port) found.emplace(static_cast<int>(descriptor), ports);
  }
  return found;
}

Sockets opened_between(const Sockets& before, const Sockets& after) {
  Sockets opened;
  for (const auto& [descriptor, ports] : after) {
    const auto known = before.find(descriptor);
    if (known == before.end() || known->second != ports) opened.emplace(descriptor, ports);
  }
  return opened;
}

} // namespace jasmin_arc
