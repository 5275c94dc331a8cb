// Reading certificates and proxy certificates.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace jasmin_arc {

struct CredentialFile;

/// Reads the certificate, or the proxy certificate with its chain, in a PEM file. Throws if the file holds none.
CredentialFile read_credential(rust::Str path);

/// Whether the passphrase decrypts the private key in a PEM file.
bool can_decrypt(rust::Str key, rust::Slice<const std::uint8_t> passphrase);

/// Whether the private key in a PEM file belongs to the first certificate in another. The passphrase is empty if the key
/// is not encrypted. Throws when one of the files cannot be read.
bool is_key_of(rust::Str key, rust::Slice<const std::uint8_t> passphrase, rust::Str certificate);

} // namespace jasmin_arc
