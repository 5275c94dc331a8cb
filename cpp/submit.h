// Submission through ARC's Submitter.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct Description;
struct Submission;

/// Reads the CE's execution targets and submits a job to the first that serves the description's queue. Throws if none
/// serves it. `targets` is 0 if the CE has no targets; `submitted` is false if the target did not accept the job.
/// `delegate` is whether the job gets the user's credentials. ARC 6 gives them to every job.
Submission submit(const Session& session, rust::Str endpoint, rust::Str information_interface,
                  rust::Str submission_interface, const Description& description, bool delegate);

} // namespace jasmin_arc
