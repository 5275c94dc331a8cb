// Reading certificates and proxy certificates.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

struct CredentialFile;

/// Reads the certificate, or the proxy certificate with its chain, in a PEM file. Throws if the file holds none.
CredentialFile read_credential(rust::Str path);

} // namespace jasmin_arc
