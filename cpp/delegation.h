// Delegating the user's proxy certificate to a CE, which can then act for the user.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

/// Signs a CE's certificate request with the proxy certificate in the file `proxy`. Returns the new certificate and its
/// chain as PEM.
rust::String sign_delegation(rust::Str proxy, rust::Str request);

} // namespace jasmin_arc
