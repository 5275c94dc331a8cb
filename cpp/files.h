// The files in a job's session directory, through ARC's data library.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct JobPlace;
struct RemoteFile;

/// Lists all files in the job's session directory and its subdirectories.
rust::Vec<RemoteFile> list_files(const Session& session, const JobPlace& place);

/// Downloads a file to `path`, where no file may exist. Throws unless the whole file arrives.
void fetch_file(const Session& session, rust::Str url, rust::Str path);

} // namespace jasmin_arc
