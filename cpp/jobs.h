// Looking at jobs, cancelling and cleaning them, through ARC's JobSupervisor and Job.
#pragma once

#include <arc/compute/Job.h>

#include "rust/cxx.h"

namespace jasmin_arc {

class Session;
struct JobPlace;
struct JobRecord;

Arc::Job to_arc(const JobPlace& place);
JobRecord from_arc(const Arc::Job& job);

/// What the CE says of these jobs, in their order.
rust::Vec<JobRecord> update_jobs(const Session& session, rust::Slice<const JobPlace> places);

/// Reads A-REX's answer to `action=info`: the GLUE2 documents of jobs, in the order of the answer. Of
/// jobs that are not found, native_state is the status code and messages has the reason.
rust::Vec<JobRecord> parse_jobs(rust::Slice<const std::uint8_t> xml);

bool cancel_job(const Session& session, const JobPlace& place);
bool clean_job(const Session& session, const JobPlace& place);

} // namespace jasmin_arc
