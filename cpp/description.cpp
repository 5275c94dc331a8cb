#include "description.h"

#include <list>
#include <stdexcept>
#include <string>

#include <arc/URL.h>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

Arc::JobDescription to_arc(const Description& description) {
  Arc::JobDescription job;
  job.Identification.JobName = std::string(description.name);
  job.Application.Executable.Path = std::string(description.executable);
  for (const rust::String& argument : description.arguments)
    job.Application.Executable.Argument.push_back(std::string(argument));
  for (const Variable& variable : description.environment)
    job.Application.Environment.emplace_back(std::string(variable.name), std::string(variable.value));
  job.Application.Output = std::string(description.stdout);
  job.Application.Error = std::string(description.stderr);
  job.DataStaging.DelegationID = std::string(description.delegation);
  for (const LocalInput& input : description.inputs) {
    Arc::InputFileType file;
    file.Name = std::string(input.name);
    file.IsExecutable = input.executable;
    file.FileSize = static_cast<long>(input.size);
    // Not parsed from text: in a path `;`, `?` and `%` are ordinary characters, in a URL they are not.
    Arc::URL source("file:///");
    source.ChangePath(std::string(input.path));
    file.Sources.push_back(Arc::SourceType(source));
    job.DataStaging.InputFiles.push_back(file);
  }
  for (const rust::String& output : description.outputs) {
    Arc::OutputFileType file;
    file.Name = std::string(output);
    job.DataStaging.OutputFiles.push_back(file);
  }
  return job;
}

rust::String to_adl(const Description& description) {
  Arc::JobDescription job = to_arc(description);
  // What is not named as an output A-REX deletes when the job ends (Arc::JobDescription::Prepare does the same).
  for (const std::string& name : {job.Application.Output, job.Application.Error}) {
    Arc::OutputFileType file;
    file.Name = name;
    job.DataStaging.OutputFiles.push_back(file);
  }
  std::string text;
  // ARC has a lock of its own for this. Not that of the plugins, which is held while a CE is waited for.
  Arc::JobDescriptionResult result = job.UnParse(text, "emies:adl");
  if (!result) throw std::runtime_error(result.str());
  return text;
}

} // namespace jasmin_arc
