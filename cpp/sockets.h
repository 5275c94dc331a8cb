// Finding the socket of a connection: ARC has no accessor for it.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

namespace jasmin_arc {

/// The local port and the remote port of a socket.
using Ports = std::pair<std::uint16_t, std::uint16_t>;

/// The ports of connected sockets by their descriptors.
using Sockets = std::map<int, Ports>;

/// The ports of a socket; {0, 0} if the descriptor is no connected TCP socket.
Ports ports_of(int descriptor);

/// All sockets of the process that are connected to a remote port.
Sockets sockets_to(int port);

/// The sockets in `after` that are not in `before`. A descriptor that has been reused is another socket.
Sockets opened_between(const Sockets& before, const Sockets& after);

} // namespace jasmin_arc
