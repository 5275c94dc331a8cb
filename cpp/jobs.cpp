#include "jobs.h"

#include <list>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>

#include <arc/DateTime.h>
#include <arc/compute/JobSupervisor.h>

#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

// Seconds since 1970, -1 if the time is unknown.
std::int64_t seconds(const Arc::Time& time) {
  return time == Arc::Time(Arc::Time::UNDEFINED) ? -1 : static_cast<std::int64_t>(time.GetTime());
}

std::int64_t seconds(const Arc::Period& period) { return static_cast<std::int64_t>(period.GetPeriod()); }

// What a CE sends can have any encoding; Rust takes UTF-8.
rust::String text(const std::string& from) { return rust::String::lossy(from); }

rust::Vec<rust::String> strings(const std::list<std::string>& from) {
  rust::Vec<rust::String> to;
  for (const std::string& string : from) to.push_back(text(string));
  return to;
}

} // namespace

Arc::Job to_arc(const JobPlace& place) {
  const Arc::URL url{std::string(place.service_url)};
  Arc::Job job;
  job.JobID = std::string(place.id);
  job.IDFromEndpoint = std::string(place.local_id);
  job.Name = std::string(place.name);
  job.ServiceInformationURL = url;
  job.ServiceInformationInterfaceName = std::string(place.information_interface);
  job.JobStatusURL = url;
  job.JobStatusInterfaceName = std::string(place.management_interface);
  job.JobManagementURL = url;
  job.JobManagementInterfaceName = std::string(place.management_interface);
  job.StdOut = std::string(place.stdout);
  job.StdErr = std::string(place.stderr);
  if (!place.delegation.empty()) job.DelegationID.push_back(std::string(place.delegation));
  return job;
}

JobRecord from_arc(const Arc::Job& job) {
  JobRecord record{};
  record.id = text(job.JobID);
  record.found = static_cast<bool>(job.State);
  record.state = text(job.State.GetGeneralState());
  record.native_state = text(job.State());
  record.name = text(job.Name);
  record.owner = text(job.Owner);
  record.local_owner = text(job.LocalOwner);
  record.local_id = text(job.LocalIDFromManager);
  record.queue = text(job.Queue);
  record.exit_code = job.ExitCode;
  record.errors = strings(job.Error);
  record.messages = strings(job.OtherMessages);
  record.execution_nodes = strings(job.ExecutionNode);
  record.stdin = text(job.StdIn);
  record.stdout = text(job.StdOut);
  record.stderr = text(job.StdErr);
  record.log_directory = text(job.LogDir);
  record.waiting_position = job.WaitingPosition;
  record.requested_slots = job.RequestedSlots;
  record.requested_wall_time = seconds(job.RequestedTotalWallTime);
  record.requested_cpu_time = seconds(job.RequestedTotalCPUTime);
  record.used_wall_time = seconds(job.UsedTotalWallTime);
  record.used_cpu_time = seconds(job.UsedTotalCPUTime);
  record.used_memory = job.UsedMainMemory;
  record.submission_time = seconds(job.SubmissionTime);
  record.start_time = seconds(job.StartTime);
  record.end_time = seconds(job.EndTime);
  // For a failed job A-REX publishes only ComputingManagerEndTime, when the job left the batch system.
  if (record.end_time < 0) record.end_time = seconds(job.ComputingManagerEndTime);
  record.erase_time = seconds(job.WorkingAreaEraseTime);
  record.proxy_expiration_time = seconds(job.ProxyExpirationTime);
  return record;
}

rust::Vec<JobRecord> update_jobs(const Session& session, rust::Slice<const JobPlace> places) {
  const std::lock_guard<std::mutex> lock(plugins());
  Arc::JobSupervisor supervisor(session.config());
  std::set<std::string> added; // Arc::JobSupervisor::AddJob accepts duplicates, and asks the CE for each
  for (const JobPlace& place : places) {
    if (!added.insert(std::string(place.id)).second) continue;
    if (!supervisor.AddJob(to_arc(place)))
      throw std::runtime_error("ARC has no plugin for the interface " + std::string(place.management_interface));
  }
  supervisor.Update();
  std::map<std::string, const Arc::Job*> known;
  for (const Arc::Job& job : supervisor.GetAllJobs()) known[job.JobID] = &job;
  rust::Vec<JobRecord> records;
  for (const JobPlace& place : places) {
    const auto job = known.find(std::string(place.id));
    records.push_back(job == known.end() ? JobRecord{} : from_arc(*job->second));
  }
  return records;
}

bool cancel_job(const Session& session, const JobPlace& place) {
  const std::lock_guard<std::mutex> lock(plugins());
  Arc::Job job = to_arc(place);
  return job.PrepareHandler(session.config()) && job.Cancel();
}

bool clean_job(const Session& session, const JobPlace& place) {
  const std::lock_guard<std::mutex> lock(plugins());
  Arc::Job job = to_arc(place);
  return job.PrepareHandler(session.config()) && job.Clean();
}

} // namespace jasmin_arc
