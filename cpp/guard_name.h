// Whether the certificate of a server names the host that the user asked for. ARC verifies only the chain of a
// certificate (PayloadTLSMCC in 6.17 and 7.0), so every certificate of a trusted CA is accepted for every host.
#pragma once

#include <string>

#include "rust/cxx.h"

namespace jasmin_arc {

/// Compares the end-entity certificate `pem` with a host name or IP address, by the rules of RFC 6125: a host name is
/// compared with the dNSName entries of subjectAltName, an IP address with the iPAddress entries. A certificate without
/// subjectAltName is compared by its last CN, from which a leading "host/" is removed as Globus does. A wildcard stands
/// for the whole first label. Returns what the certificate names instead, or an empty string if it names the host.
std::string other_name(const std::string& pem, const std::string& host);

/// The same for the tests.
rust::String named_instead(rust::Str pem, rust::Str host);

} // namespace jasmin_arc
