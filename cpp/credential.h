// Reading certificates and proxy certificates.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

struct CredentialFile;

/// Reads the certificate, or the proxy certificate with its chain, in a PEM file. Throws if the file holds none.
CredentialFile read_credential(rust::Str path);

/// Whether the private key in a PEM file belongs to the first certificate in another. Throws when one of them cannot be
/// read, or the key is encrypted.
bool is_key_of(rust::Str key, rust::Str certificate);

} // namespace jasmin_arc
