// The files of a job, through ARC's data library.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct JobPlace;
struct RemoteFile;

/// Every file in the job's session directory and below.
rust::Vec<RemoteFile> list_files(const Session& session, const JobPlace& place);

/// Fetches a file to a path where there is none yet. Throws unless all of it has arrived.
void fetch_file(const Session& session, rust::Str url, rust::Str path);

} // namespace jasmin_arc
