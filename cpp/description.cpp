#include "description.h"

#include <list>
#include <stdexcept>
#include <string>

#include <arc/URL.h>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

const char* const adl = "emies:adl";

/// A URL that the CE is told. What ARC's parser takes it for is what is sent, so that must be all of it.
Arc::URL remote_url(const rust::String& text) {
  const Arc::URL url{std::string(text)};
  if (!url) throw std::runtime_error("ARC does not understand the URL " + std::string(text));
  if (!url.MetaDataOptions().empty() || !url.Locations().empty() || !url.Passwd().empty())
    throw std::runtime_error("the URL " + std::string(text) + " has locations, metadata or a password, which are not sent");
  return url;
}

/// Not parsed from text: in a path `;`, `?` and `%` are ordinary characters, in a URL they are not.
Arc::URL local_url(std::string path) {
  Arc::URL url("file:///");
  url.ChangePath(path);
  return url;
}

void add_outputs(Arc::JobDescription& job, const Description& description) {
  for (const Output& output : description.outputs) {
    auto& files = job.DataStaging.OutputFiles;
    const std::string name(output.name);
    // The places that one file goes to are told together; that it is kept as well is told apart.
    const bool same = !files.empty() && files.back().Name == name && !files.back().Targets.empty() && !output.url.empty();
    if (!same) {
      files.emplace_back();
      files.back().Name = name;
    }
    if (!output.url.empty()) files.back().Targets.push_back(Arc::TargetType(remote_url(output.url)));
  }
}

/// Whether a file is kept when a directory, or a file, with this name is.
bool covers(const std::string& kept, const std::string& name) {
  return kept == name || name.compare(0, kept.size() + 1, kept + "/") == 0;
}

/// What is not named as an output A-REX deletes when the job ends (Arc::JobDescription::Prepare does the same). What is in
/// a directory that is kept is not named: of that directory A-REX would keep nothing else (Arc::DirDeleteExcl).
void keep_streams(Arc::JobDescription& job) {
  for (const std::string& name : {job.Application.Output, job.Application.Error, job.Application.LogDir}) {
    bool known = name.empty();
    for (const Arc::OutputFileType& file : job.DataStaging.OutputFiles)
      known |= file.Targets.empty() && covers(file.Name, name);
    if (known) continue;
    job.DataStaging.OutputFiles.emplace_back();
    job.DataStaging.OutputFiles.back().Name = name;
  }
}

Arc::JobDescription convert(const Description& description) {
  Arc::JobDescription job;
  job.Identification.JobName = std::string(description.name);
  job.Identification.Description = std::string(description.description);
  for (const rust::String& annotation : description.annotations)
    job.Identification.Annotation.push_back(std::string(annotation));

  job.Application.Executable.Path = std::string(description.executable);
  for (const rust::String& argument : description.arguments)
    job.Application.Executable.Argument.push_back(std::string(argument));
  for (const Variable& variable : description.environment)
    job.Application.Environment.emplace_back(std::string(variable.name), std::string(variable.value));
  job.Application.Input = std::string(description.stdin);
  job.Application.Output = std::string(description.stdout);
  job.Application.Error = std::string(description.stderr);
  job.Application.LogDir = std::string(description.log_directory);
  job.Application.Rerun = description.rerun;
  job.Application.Priority = description.priority;
  if (description.start_time >= 0) job.Application.ProcessingStartTime = Arc::Time(description.start_time);
  for (const Notice& notice : description.notices) {
    Arc::NotificationType notification;
    notification.Email = std::string(notice.email);
    for (const rust::String& state : notice.states) notification.States.push_back(std::string(state));
    job.Application.Notification.push_back(notification);
  }

  Arc::ResourcesType& resources = job.Resources;
  resources.TotalWallTime.range.max = description.wall_time;
  resources.TotalCPUTime.range.max = description.cpu_time;
  resources.IndividualPhysicalMemory.max = description.memory;
  resources.IndividualVirtualMemory.max = description.virtual_memory;
  resources.DiskSpaceRequirement.DiskSpace.max = description.disk;
  resources.SlotRequirement.NumberOfSlots = description.slots;
  resources.SlotRequirement.SlotsPerHost = description.slots_per_host;
  resources.ParallelEnvironment.ProcessesPerSlot = description.processes_per_slot;
  resources.ParallelEnvironment.ThreadsPerProcess = description.threads_per_process;
  if (description.exclusive >= 0)
    resources.SlotRequirement.ExclusiveExecution =
      description.exclusive ? Arc::SlotRequirementType::EE_TRUE : Arc::SlotRequirementType::EE_FALSE;
  resources.QueueName = std::string(description.queue);
  if (description.life_time >= 0) resources.SessionLifeTime = Arc::Period(description.life_time);
  for (const Runtime& runtime : description.runtimes) {
    Arc::Software software("", std::string(runtime.name), std::string(runtime.version));
    for (const rust::String& option : runtime.options) software.addOption(std::string(option));
    resources.RunTimeEnvironment.add(software, Arc::Software::EQUAL);
  }

  job.DataStaging.DelegationID = std::string(description.delegation);
  for (const Input& input : description.inputs) {
    Arc::InputFileType file;
    file.Name = std::string(input.name);
    file.IsExecutable = input.executable;
    file.FileSize = static_cast<long>(input.size);
    file.Sources.push_back(input.url.empty() ? local_url(std::string(input.path)) : remote_url(input.url));
    job.DataStaging.InputFiles.push_back(file);
  }
  add_outputs(job, description);
  return job;
}

// ---- and back ----

/// Where a local input file is. ARC takes one without a source for a path in the working directory, and makes that
/// absolute. (As a URL, in ADL, which ARC 7.2 decodes.)
std::string local_path(const Arc::InputFileType& file, bool is_xrsl) {
  if (file.Sources.empty() || !file.Sources.front()) return file.Name;
  const std::string path = file.Sources.front().Path();
  const Arc::URL named = is_xrsl ? Arc::URL(file.Name, false) : Arc::URL(file.Name);
  return path == named.Path() ? file.Name : path;
}

/// What a description says that ours cannot.
rust::Vec<rust::String> besides(const Arc::JobDescription& job) {
  rust::Vec<rust::String> found;
  const auto check = [&found](bool said, const char* name) {
    if (said) found.push_back(name);
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
      check(target.UseIfFailure || target.UseIfCancel || !target.UseIfSuccess, "UseIfFailure, UseIfCancel or UseIfSuccess");
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
  for (const auto& [name, value] : job.Application.Environment) description.environment.push_back(Variable{name, value});
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

Arc::JobDescription to_arc(const Description& description) {
  Arc::JobDescription job = convert(description);
  // A-REX reads whether a job is to be alone only along with slots and slots per host (ADLParser::Parse). One slot is
  // what it takes without a number. (It divides by the slots per host: 0 of them is the end of A-REX.)
  Arc::SlotRequirementType& slots = job.Resources.SlotRequirement;
  if (slots.ExclusiveExecution == Arc::SlotRequirementType::EE_TRUE) {
    if (slots.NumberOfSlots < 0) slots.NumberOfSlots = 1;
    if (slots.SlotsPerHost < 0 && slots.NumberOfSlots == 1) slots.SlotsPerHost = 1;
  } else if (slots.SlotsPerHost < 0) {
    slots.ExclusiveExecution = Arc::SlotRequirementType::EE_DEFAULT;
  }
  keep_streams(job);
  return job;
}

rust::String describe(const Description& description, rust::Str language) {
  const std::string name(language);
  Arc::JobDescription job = name == adl ? to_arc(description) : convert(description);
  // Only of a file whose size is known are local paths written as they are, and not as URLs.
  if (name != adl)
    for (Arc::InputFileType& file : job.DataStaging.InputFiles) file.FileSize = 0;
  std::string text;
  // ARC has a lock of its own for this. Not that of the plugins, which is held while a CE is waited for.
  Arc::JobDescriptionResult result = job.UnParse(text, name);
  if (!result) throw std::runtime_error(result.str());
  return text;
}

bool decodes_urls() { return Arc::URL("file:///%41").Path() == "/A"; }

rust::Vec<ReadDescription> read_descriptions(rust::Str text, rust::Str language) {
  std::list<Arc::JobDescription> jobs;
  Arc::JobDescriptionResult result = Arc::JobDescription::Parse(std::string(text), jobs, std::string(language));
  if (!result) throw std::runtime_error(result.str());
  rust::Vec<ReadDescription> descriptions;
  for (const Arc::JobDescription& job : jobs) descriptions.push_back(ReadDescription{from_arc(job), besides(job)});
  return descriptions;
}

} // namespace jasmin_arc
