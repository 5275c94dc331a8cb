// Submission through ARC's Submitter.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct Description;
struct Submission;

/// Reads the CE's execution targets and submits a job to the first that serves the description's queue. Throws if none
/// serves it. `targets` is 0 if the CE has no targets; `submitted` is false if the target did not accept the job.
Submission submit(const Session& session, rust::Str endpoint, rust::Str information_interface,
                  rust::Str submission_interface, const Description& description);

} // namespace jasmin_arc
