// Reading certificates and proxies.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

struct CredentialFile;

/// Reads the certificate (or proxy with its chain) in a PEM file. Throws when there is none.
CredentialFile read_credential(rust::Str path);

} // namespace jasmin_arc
