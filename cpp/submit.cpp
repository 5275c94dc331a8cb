#include "submit.h"

#include <list>
#include <mutex>
#include <stdexcept>
#include <string>

#include <arc/compute/ExecutionTarget.h>
#include <arc/compute/Submitter.h>

#include "description.h"
#include "session.h"
#include "targets.h"
#include "versions.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

bool serves(const Arc::ExecutionTarget& target, const std::string& queue) {
  return queue.empty() || target.ComputingShare->Name == queue || target.ComputingShare->MappingQueue == queue;
}

// The job exists once ARC has its id, so nothing here may throw for text that is not UTF-8.
JobPlace place_of(const Arc::Job& job) {
  JobPlace place{};
  place.id = rust::String::lossy(job.JobID);
  place.local_id = rust::String::lossy(job.IDFromEndpoint);
  place.service_url = rust::String::lossy(job.JobManagementURL.fullstr());
  place.information_interface = rust::String::lossy(job.ServiceInformationInterfaceName);
  place.management_interface = rust::String::lossy(job.JobManagementInterfaceName);
  place.name = rust::String::lossy(job.Name);
  place.stdout = rust::String::lossy(job.StdOut);
  place.stderr = rust::String::lossy(job.StdErr);
  if (!job.DelegationID.empty()) place.delegation = rust::String::lossy(job.DelegationID.front());
  return place;
}

} // namespace

Submission submit(const Session& session, rust::Str endpoint, rust::Str information_interface,
                  rust::Str submission_interface, const Description& description, bool delegate) {
  const std::lock_guard<std::mutex> lock(plugins());
  Submission result{};
  const std::string queue(description.queue);
  Arc::JobDescription job_description = to_arc(description);
  set_delegation(job_description, delegate);
  std::list<Arc::ExecutionTarget> targets =
      find_targets(session, endpoint, information_interface, submission_interface);
  if (targets.empty()) return result;
  // ARC's plugins submit to the queue of the target and ignore the description's (Arc::JobDescription::Prepare).
  targets.remove_if([&queue](const Arc::ExecutionTarget& target) { return !serves(target, queue); });
  if (targets.empty()) throw std::runtime_error("the CE has no queue " + queue);
  result.targets = targets.size();

  // Only one target is tried: if the submission fails after the CE has made the job (an upload fails, for example), the
  // next target would make a second job.
  Arc::Submitter submitter(session.config());
  Arc::Job job;
  const Arc::SubmissionStatus status = submitter.Submit(targets.front(), job_description, job);
  result.submitted = status && !job.JobID.empty();
  if (result.submitted) result.place = place_of(job);
  return result;
}

} // namespace jasmin_arc
