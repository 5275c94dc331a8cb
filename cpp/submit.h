// Submission through ARC's Submitter.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct Description;
struct Submission;

/// Asks the CE for its execution targets and submits one job to the first that takes it.
Submission submit(const Session& session, rust::Str endpoint, rust::Str information_interface,
                  rust::Str submission_interface, const Description& description);

} // namespace jasmin_arc
