#include "targets.h"

#include <mutex>
#include <set>
#include <string>

#include <arc/compute/ComputingServiceRetriever.h>
#include <arc/compute/Endpoint.h>

#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

Target from_arc(const Arc::ExecutionTarget& from) {
  const Arc::ComputingShareAttributes& share = *from.ComputingShare;
  Target to{};
  to.queue = rust::String::lossy(share.MappingQueue.empty() ? share.Name : share.MappingQueue);
  to.serving = rust::String::lossy(from.ComputingEndpoint->ServingState);
  to.min_wall_time = share.MinWallTime.GetPeriod();
  to.max_wall_time = share.MaxWallTime.GetPeriod();
  to.min_cpu_time = share.MinCPUTime.GetPeriod();
  to.max_cpu_time = share.MaxCPUTime.GetPeriod();
  to.max_total_cpu_time = share.MaxTotalCPUTime.GetPeriod();
  to.memory = share.MaxMainMemory;
  to.virtual_memory = share.MaxVirtualMemory;
  to.disk = share.MaxDiskSpace;
  to.free_disk = from.ComputingManager->WorkingAreaFree;
  to.slots = share.MaxSlotsPerJob;
  to.total_slots = from.ComputingManager->TotalSlots;
  return to;
}

} // namespace

std::list<Arc::ExecutionTarget> find_targets(const Session& session, rust::Str endpoint,
                                             rust::Str information_interface, rust::Str submission_interface) {
  // Without an interface ARC tries all its plugins in parallel, LDAP among them.
  const Arc::Endpoint service(std::string(endpoint), Arc::Endpoint::COMPUTINGINFO, std::string(information_interface));
  Arc::ComputingServiceRetriever retriever(session.config(), std::list<Arc::Endpoint>(1, service));
  retriever.wait();
  std::list<Arc::ExecutionTarget> targets;
  retriever.GetExecutionTargets(targets);
  const std::string wanted(submission_interface);
  targets.remove_if(
      [&wanted](const Arc::ExecutionTarget& target) { return target.ComputingEndpoint->InterfaceName != wanted; });
  return targets;
}

Offered offered(const Session& session, rust::Str endpoint, rust::Str information_interface,
                rust::Str submission_interface) {
  const std::lock_guard<std::mutex> lock(plugins());
  Offered result{};
  std::set<std::string> runtimes;
  for (const Arc::ExecutionTarget& target :
       find_targets(session, endpoint, information_interface, submission_interface)) {
    result.targets.push_back(from_arc(target));
    for (const Arc::ApplicationEnvironment& runtime : *target.ApplicationEnvironments) runtimes.insert(runtime());
  }
  for (const std::string& runtime : runtimes) result.runtimes.push_back(rust::String::lossy(runtime));
  return result;
}

} // namespace jasmin_arc
