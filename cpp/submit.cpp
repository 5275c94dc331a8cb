#include "submit.h"

#include <mutex>
#include <stdexcept>
#include <string>

#include <arc/compute/ExecutionTarget.h>
#include <arc/compute/Submitter.h>

#include "description.h"
#include "session.h"
#include "targets.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

/// ARC's plugins submit to the queue of the target, whatever the description says (Arc::JobDescription::Prepare).
bool serves(const Arc::ExecutionTarget& target, const std::string& queue) {
  return queue.empty() || target.ComputingShare->Name == queue || target.ComputingShare->MappingQueue == queue;
}

} // namespace

Submission submit(const Session& session, rust::Str endpoint, rust::Str information_interface,
                  rust::Str submission_interface, const Description& description) {
  const std::lock_guard<std::mutex> lock(plugins());
  Submission result{};
  bool offered = false;
  const std::string queue(description.queue);
  const Arc::JobDescription job_description = to_arc(description);
  for (const Arc::ExecutionTarget& target :
       find_targets(session, endpoint, information_interface, submission_interface)) {
    offered = true;
    if (!serves(target, queue)) continue;
    ++result.targets;
    // A description that a target has not taken may have become a job all the same (its upload failed): the next
    // target would make a second one.
    if (result.targets > 1) continue;
    Arc::Submitter submitter(session.config());
    Arc::Job job;
    const Arc::SubmissionStatus status = submitter.Submit(target, job_description, job);
    result.submitted = status && !job.JobID.empty();
    if (!result.submitted) continue;
    result.place.id = job.JobID;
    result.place.local_id = job.IDFromEndpoint;
    result.place.service_url = job.JobManagementURL.fullstr();
    result.place.information_interface = job.ServiceInformationInterfaceName;
    result.place.management_interface = job.JobManagementInterfaceName;
    result.place.name = job.Name;
    result.place.stdout = job.StdOut;
    result.place.stderr = job.StdErr;
    if (!job.DelegationID.empty()) result.place.delegation = job.DelegationID.front();
  }
  if (offered && result.targets == 0) throw std::runtime_error("it has no queue " + queue);
  return result;
}

} // namespace jasmin_arc
