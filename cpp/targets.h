// What a CE offers, by ARC's reading of its information.
#pragma once

#include <list>

#include <arc/compute/ExecutionTarget.h>

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct Offered;

/// Asks the CE what can be submitted to by an interface. The caller holds the lock of plugins().
std::list<Arc::ExecutionTarget> find_targets(const Session& session, rust::Str endpoint,
                                             rust::Str information_interface, rust::Str submission_interface);

/// The same, for Rust.
Offered offered(const Session& session, rust::Str endpoint, rust::Str information_interface,
                rust::Str submission_interface);

} // namespace jasmin_arc
