#include "description.h"

#include <stdexcept>
#include <string>

#include <arc/URL.h>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

const char* const adl = "emies:adl";

/// A URL for the CE. ARC sends what its parser has understood, so a URL that it does not understand as a whole is
/// refused.
Arc::URL remote_url(const rust::String& text) {
  const Arc::URL url{std::string(text)};
  if (!url) throw std::runtime_error("ARC cannot parse the URL " + std::string(text));
  if (!url.MetaDataOptions().empty() || !url.Locations().empty() || !url.Passwd().empty())
    throw std::runtime_error("the URL " + std::string(text) +
                             " has locations, metadata or a password, which ARC does not send");
  return url;
}

/// The URL of a local path. It is not parsed from text, because `;`, `?` and `%` are ordinary characters in a path.
Arc::URL local_url(std::string path) {
  Arc::URL url("file:///");
  url.ChangePath(path);
  return url;
}

void add_outputs(Arc::JobDescription& job, const Description& description) {
  for (const Output& output : description.outputs) {
    auto& files = job.DataStaging.OutputFiles;
    const std::string name(output.name);
    // All targets of a file are in one entry. Keeping the file as well takes an entry of its own.
    const bool same =
        !files.empty() && files.back().Name == name && !files.back().Targets.empty() && !output.url.empty();
    if (!same) {
      files.emplace_back();
      files.back().Name = name;
    }
    if (!output.url.empty()) files.back().Targets.push_back(Arc::TargetType(remote_url(output.url)));
  }
}

/// Whether the CE keeps the file `name` when it keeps the file or directory `kept`.
bool covers(const std::string& kept, const std::string& name) {
  return kept == name || name.compare(0, kept.size() + 1, kept + "/") == 0;
}

/// Adds the standard streams and the log directory to the outputs, as Arc::JobDescription::Prepare does: A-REX deletes
/// everything else when the job ends. A stream in a directory that is kept is not added, because A-REX would then keep
/// nothing else of that directory (Arc::DirDeleteExcl).
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
  for (const rust::String& id : description.old_ids) job.Identification.ActivityOldID.push_back(std::string(id));

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

} // namespace

Arc::JobDescription to_arc(const Description& description) {
  Arc::JobDescription job = convert(description);
  // A-REX reads ExclusiveExecution only along with NumberOfSlots and SlotsPerHost (ADLParser::Parse). Without a number
  // it takes one slot. It divides by the slots per host: 0 of them would crash it.
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
  // ARC writes local paths, and not URLs, only for files whose size is known.
  if (name != adl)
    for (Arc::InputFileType& file : job.DataStaging.InputFiles) file.FileSize = 0;
  std::string text;
  // ARC has a lock of its own for this. The lock for plugins is held while ARC waits for a CE, so it is not taken here.
  Arc::JobDescriptionResult result = job.UnParse(text, name);
  if (!result) throw std::runtime_error(result.str());
  return text;
}

} // namespace jasmin_arc
