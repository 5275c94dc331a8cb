// The queues and runtime environments of a CE, as ARC reads them from the CE's information.
#pragma once

#include <list>

#include <arc/compute/ExecutionTarget.h>

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct Offered;

/// Reads the CE's information and returns the targets that take jobs by `submission_interface`. The caller holds
/// plugins().
std::list<Arc::ExecutionTarget> find_targets(const Session& session, rust::Str endpoint,
                                             rust::Str information_interface, rust::Str submission_interface);

/// The same targets for Rust, with all their runtime environments.
Offered offered(const Session& session, rust::Str endpoint, rust::Str information_interface,
                rust::Str submission_interface);

} // namespace jasmin_arc
