#include "store.h"

#include <list>
#include <set>
#include <stdexcept>
#include <string>

#include <arc/DateTime.h>
#include <arc/compute/JobInformationStorageSQLite.h>

#include "jobs.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

void store_jobs(rust::Str path, rust::Slice<const JobPlace> places) {
  Arc::JobInformationStorageSQLite storage{std::string(path)};
  if (!storage.IsValid()) throw std::runtime_error("the file is not a job list of ARC, or cannot be opened");
  std::list<Arc::Job> jobs;
  for (const JobPlace& place : places) {
    jobs.push_back(to_arc(place));
    jobs.back().LocalSubmissionTime = Arc::Time();
  }
  std::list<const Arc::Job*> added;
  if (!storage.Write(jobs, std::set<std::string>(), added)) throw std::runtime_error("ARC did not store all jobs");
}

} // namespace jasmin_arc
