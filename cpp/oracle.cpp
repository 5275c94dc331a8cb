#include "oracle.h"

#include <algorithm>
#include <list>
#include <stdexcept>
#include <string>

#include <arc/compute/JobDescription.h>

#include "guard.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

/// The path of a local input file. Without a source it is a path in the working directory, which ARC makes absolute. In
/// ADL it is a URL, which ARC 7.2 decodes.
std::string local_path(const Arc::InputFileType& file, bool is_xrsl) {
  if (file.Sources.empty() || !file.Sources.front()) return file.Name;
  const std::string path = file.Sources.front().Path();
  const Arc::URL named = is_xrsl ? Arc::URL(file.Name, false) : Arc::URL(file.Name);
  return path == named.Path() ? file.Name : path;
}

/// What is in a description that the bridge has no field for.
rust::Vec<rust::String> unsupported(const Arc::JobDescription& job) {
  rust::Vec<rust::String> found;
  const auto check = [&found](bool is_there, const char* name) {
    if (is_there) found.push_back(name);
  };
  check(job.HasAlternatives(), "alternatives");
  check(!job.Identification.Type.empty(), "Type");
  check(!job.Identification.ActivityOldID.empty(), "ActivityOldID");
  const Arc::ApplicationType& application = job.Application;
  check(application.Executable.SuccessExitCode.first, "FailIfExitCodeNotEqualTo");
  check(!application.PreExecutable.empty(), "PreExecutable");
  check(!application.PostExecutable.empty(), "PostExecutable");
  check(!application.RemoteLogging.empty(), "RemoteLogging (jobreport)");
  check(application.ExpirationTime != -1, "ExpirationTime");
  check(!application.CredentialService.empty(), "CredentialService (credentialserver)");
  check(static_cast<bool>(application.AccessControl), "AccessControl (acl)");
  check(application.DryRun, "DryRun (dryrun)");
  const Arc::ResourcesType& resources = job.Resources;
  check(!resources.OperatingSystem.empty(), "OperatingSystem (opsys)");
  check(!resources.Platform.empty(), "Platform (architecture)");
  check(!resources.NetworkInfo.empty(), "NetworkInfo");
  check(resources.DiskSpaceRequirement.CacheDiskSpace != -1, "CacheDiskSpace");
  check(resources.DiskSpaceRequirement.SessionDiskSpace != -1, "SessionDiskSpace");
  check(resources.SessionDirectoryAccess != Arc::SDAM_NONE, "RemoteSessionAccess");
  check(resources.IndividualCPUTime.range.max != -1, "IndividualCPUTime");
  check(!resources.TotalCPUTime.benchmark.first.empty(), "Benchmark (gridtime, benchmarks)");
  check(resources.NodeAccess != Arc::NAT_NONE, "NodeAccess");
  check(!resources.CEType.empty(), "CEType (middleware)");
  check(!resources.ParallelEnvironment.Type.empty(), "ParallelEnvironment/Type");
  check(!resources.ParallelEnvironment.Version.empty(), "ParallelEnvironment/Version");
  check(!resources.ParallelEnvironment.Options.empty(), "ParallelEnvironment/Option");
  check(!resources.Coprocessor.v.empty(), "Coprocessor");
  check(!job.DataStaging.DelegationID.empty(), "DelegationID");
  for (const Arc::InputFileType& file : job.DataStaging.InputFiles) {
    check(file.Name.empty(), "ClientDataPush");
    check(file.Sources.size() > 1, "a second source of an input file");
    for (const Arc::SourceType& source : file.Sources) {
      check(!source.DelegationID.empty(), "DelegationID of an input file");
      check(!source.Locations().empty(), "locations of an input file");
    }
  }
  for (const Arc::OutputFileType& file : job.DataStaging.OutputFiles)
    for (const Arc::TargetType& target : file.Targets) {
      check(!target.DelegationID.empty(), "DelegationID of an output file");
      check(!target.Locations().empty(), "locations of an output file");
      check(target.CreationFlag != Arc::TargetType::CFE_DEFAULT, "CreationFlag of an output file");
      check(target.UseIfFailure || target.UseIfCancel || !target.UseIfSuccess,
            "UseIfFailure, UseIfCancel or UseIfSuccess");
      check(target.Option("mandatory", "false") != "false", "Mandatory of an output file");
    }
  return found;
}

Description from_arc(const Arc::JobDescription& job) {
  Description description{};
  description.name = job.Identification.JobName;
  description.description = job.Identification.Description;
  for (const std::string& annotation : job.Identification.Annotation) description.annotations.push_back(annotation);

  description.executable = job.Application.Executable.Path;
  for (const std::string& argument : job.Application.Executable.Argument) description.arguments.push_back(argument);
  for (const auto& [name, value] : job.Application.Environment)
    description.environment.push_back(Variable{name, value});
  description.stdin = job.Application.Input;
  description.stdout = job.Application.Output;
  description.stderr = job.Application.Error;
  description.log_directory = job.Application.LogDir;
  description.rerun = job.Application.Rerun;
  description.priority = job.Application.Priority;
  description.start_time = job.Application.ProcessingStartTime.GetTime();
  for (const Arc::NotificationType& notification : job.Application.Notification) {
    Notice notice{notification.Email, {}};
    for (const std::string& state : notification.States) notice.states.push_back(state);
    description.notices.push_back(notice);
  }

  const Arc::ResourcesType& resources = job.Resources;
  description.wall_time = resources.TotalWallTime.range.max;
  description.cpu_time = resources.TotalCPUTime.range.max;
  description.memory = resources.IndividualPhysicalMemory.max;
  description.virtual_memory = resources.IndividualVirtualMemory.max;
  description.disk = resources.DiskSpaceRequirement.DiskSpace.max;
  description.slots = resources.SlotRequirement.NumberOfSlots;
  description.slots_per_host = resources.SlotRequirement.SlotsPerHost;
  description.processes_per_slot = resources.ParallelEnvironment.ProcessesPerSlot;
  description.threads_per_process = resources.ParallelEnvironment.ThreadsPerProcess;
  switch (resources.SlotRequirement.ExclusiveExecution) {
  case Arc::SlotRequirementType::EE_TRUE: description.exclusive = 1; break;
  case Arc::SlotRequirementType::EE_FALSE: description.exclusive = 0; break;
  default: description.exclusive = -1;
  }
  description.queue = resources.QueueName;
  description.life_time = static_cast<int>(resources.SessionLifeTime.GetPeriod());
  for (const Arc::Software& software : resources.RunTimeEnvironment.getSoftwareList()) {
    Runtime runtime{software.getName(), software.getVersion(), {}};
    for (const std::string& option : software.getOptions()) runtime.options.push_back(option);
    description.runtimes.push_back(runtime);
  }

  for (const Arc::InputFileType& file : job.DataStaging.InputFiles) {
    Input input{file.Name, "", "", file.IsExecutable, -1};
    if (!file.Sources.empty() && file.Sources.front() && file.Sources.front().Protocol() != "file")
      input.url = file.Sources.front().fullstr();
    else
      input.path = local_path(file, job.GetSourceLanguage() == "nordugrid:xrsl"); // ADL has none
    description.inputs.push_back(input);
  }
  for (const Arc::OutputFileType& file : job.DataStaging.OutputFiles) {
    if (file.Targets.empty()) description.outputs.push_back(Output{file.Name, ""});
    for (Arc::TargetType target : file.Targets) {
      target.RemoveOption("mandatory");
      description.outputs.push_back(Output{file.Name, target.fullstr()});
    }
  }
  return description;
}

} // namespace

rust::Vec<ReadDescription> read_descriptions(rust::Str text, rust::Str language) {
  std::list<Arc::JobDescription> jobs;
  Arc::JobDescriptionResult result = Arc::JobDescription::Parse(std::string(text), jobs, std::string(language));
  if (!result) throw std::runtime_error(result.str());
  rust::Vec<ReadDescription> descriptions;
  for (const Arc::JobDescription& job : jobs) descriptions.push_back(ReadDescription{from_arc(job), unsupported(job)});
  return descriptions;
}

rust::String follow_framing(rust::Slice<const std::uint8_t> response, std::size_t part) {
  Framing framing;
  std::size_t position = 0;
  const auto* const bytes = reinterpret_cast<const char*>(response.data());
  for (std::size_t end = 0; end < response.size() && position == end;) {
    end = std::min(end + std::max<std::size_t>(part, 1), response.size());
    while (position < end && !framing.complete() && !framing.refused())
      position += framing.head_complete() ? framing.take_body(bytes + position, end - position)
                                          : framing.take_head(bytes + position, end - position);
  }
  if (framing.refused()) return rust::String("refused: " + framing.why());
  framing.end();
  const std::string state = framing.complete() ? "complete" : framing.head_complete() ? "body" : "head";
  return rust::String::lossy(state + " at " + std::to_string(position) + ": " + framing.head());
}

} // namespace jasmin_arc
