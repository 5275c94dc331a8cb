// Reading, cancelling and cleaning jobs through ARC's JobSupervisor and Job.
#pragma once

#include <arc/compute/Job.h>

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct JobPlace;
struct JobRecord;

Arc::Job to_arc(const JobPlace& place);
JobRecord from_arc(const Arc::Job& job);

/// One record for each place, in the same order. `found` is false for jobs that the CE does not report.
rust::Vec<JobRecord> update_jobs(const Session& session, rust::Slice<const JobPlace> places);

/// Return whether ARC succeeded; its log has the reason if it did not.
bool cancel_job(const Session& session, const JobPlace& place);
bool clean_job(const Session& session, const JobPlace& place);

} // namespace jasmin_arc
