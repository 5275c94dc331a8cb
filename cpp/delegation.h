// Signing what a CE asks for, so that it may act for the user.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

/// Signs a certificate request of a CE with the proxy in a file, and gives back the certificate with its chain, PEM.
rust::String sign_delegation(rust::Str proxy, rust::Str request);

} // namespace jasmin_arc
