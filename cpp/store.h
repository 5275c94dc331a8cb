// The local job list of ARC's command-line tools.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

struct JobPlace;

/// Adds jobs to the list at `path`, or throws.
void store_jobs(rust::Str path, rust::Slice<const JobPlace> places);

} // namespace jasmin_arc
