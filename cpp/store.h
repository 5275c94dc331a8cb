// The job list of ARC's command-line tools.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

struct JobPlace;

/// Adds jobs to the job list (a SQLite file) at `path`. Creates the file if there is none.
void store_jobs(rust::Str path, rust::Slice<const JobPlace> places);

} // namespace jasmin_arc
