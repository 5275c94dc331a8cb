#include "submit.h"

#include <list>
#include <mutex>
#include <string>

#include <arc/compute/ComputingServiceRetriever.h>
#include <arc/compute/Endpoint.h>
#include <arc/compute/ExecutionTarget.h>
#include <arc/compute/Submitter.h>

#include "description.h"
#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

Submission submit(const Session& session, rust::Str endpoint, rust::Str information_interface,
                  rust::Str submission_interface, const Description& description) {
  const std::string wanted(submission_interface);
  const std::lock_guard<std::mutex> lock(plugins());

  // The interface is pinned: without one ARC tries every plugin it has, LDAP among them.
  const Arc::Endpoint service(std::string(endpoint), Arc::Endpoint::COMPUTINGINFO, std::string(information_interface));
  Arc::ComputingServiceRetriever retriever(session.config(), std::list<Arc::Endpoint>(1, service));
  retriever.wait();
  std::list<Arc::ExecutionTarget> targets;
  retriever.GetExecutionTargets(targets);

  Submission result{};
  const Arc::JobDescription job_description = to_arc(description);
  for (const Arc::ExecutionTarget& target : targets) {
    if (target.ComputingEndpoint->InterfaceName != wanted) continue;
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
  return result;
}

} // namespace jasmin_arc
