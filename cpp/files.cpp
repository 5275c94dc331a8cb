#include "files.h"

#include <list>
#include <mutex>
#include <stdexcept>
#include <string>

#include <arc/data/DataHandle.h>
#include <arc/data/DataMover.h>
#include <arc/data/FileCache.h>
#include <arc/data/URLMap.h>

#include "jobs.h"
#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

// Deeper than any sane output; a CE must not be able to make us recurse for ever.
constexpr int deepest = 100;

void list_directory(const Session& session, const Arc::URL& directory, const std::string& prefix, int depth,
                    rust::Vec<RemoteFile>& files) {
  if (depth > deepest) throw std::runtime_error("directories are nested too deep at " + prefix);
  Arc::DataHandle handle(directory, session.config());
  if (!handle) throw std::runtime_error("ARC has no plugin for " + directory.str());
  std::list<Arc::FileInfo> entries;
  const Arc::DataStatus status =
      handle->List(entries, static_cast<Arc::DataPoint::DataPointInfoType>(Arc::DataPoint::INFO_TYPE_NAME |
                                                                           Arc::DataPoint::INFO_TYPE_TYPE |
                                                                           Arc::DataPoint::INFO_TYPE_CONTENT));
  if (!status.Passed()) throw std::runtime_error("cannot list " + directory.str() + ": " + std::string(status));
  for (const Arc::FileInfo& entry : entries) {
    const std::string& name = entry.GetName();
    if (name == "." || name == "..") continue;
    Arc::URL url(directory);
    const std::string base = directory.Path();
    url.ChangePath(base + (base.empty() || base.back() != '/' ? "/" : "") + name);
    if (entry.GetType() == Arc::FileInfo::file_type_dir) {
      list_directory(session, url, prefix + name + "/", depth + 1, files);
    } else {
      RemoteFile file{};
      file.path = rust::String::lossy(prefix + name);
      file.url = rust::String::lossy(url.fullstr());
      file.size = entry.CheckSize() ? static_cast<std::int64_t>(entry.GetSize()) : -1;
      files.push_back(file);
    }
  }
}

} // namespace

rust::Vec<RemoteFile> list_files(const Session& session, const JobPlace& place) {
  Arc::URL directory;
  {
    const std::lock_guard<std::mutex> lock(plugins());
    Arc::Job job = to_arc(place);
    if (!job.PrepareHandler(session.config()) || !job.GetURLToResource(Arc::Job::STAGEOUTDIR, directory) || !directory)
      throw std::runtime_error("no URL for the outputs of the job");
  }
  rust::Vec<RemoteFile> files;
  list_directory(session, directory, "", 0, files);
  return files;
}

void fetch_file(const Session& session, rust::Str url, rust::Str path) {
  // Arc::Job::CopyJobFile does the same with two static handles, which all the threads of a process would share.
  Arc::URL source_url{std::string(url)};
  source_url.AddOption("checksum=no", false);
  Arc::URL target_url("file:///");
  target_url.ChangePath(std::string(path));
  Arc::DataHandle source(source_url, session.config());
  Arc::DataHandle target(target_url, session.config());
  if (!source) throw std::runtime_error("ARC has no plugin for " + source_url.str());
  if (!target) throw std::runtime_error("ARC has no plugin for local files");
  source->SetAdditionalChecks(false);
  target->SetAdditionalChecks(false);
  source->SetTries(2);
  target->SetTries(1);
  Arc::DataMover mover;
  mover.retry(true);
  mover.secure(false);
  mover.passive(true);
  mover.verbose(false);
  mover.checks(false);
  Arc::FileCache no_cache;
  const Arc::DataStatus status =
      mover.Transfer(*source, *target, no_cache, Arc::URLMap(), 0, 0, 0, session.config().Timeout());
  if (!status.Passed()) throw std::runtime_error(std::string(status));
}

} // namespace jasmin_arc
