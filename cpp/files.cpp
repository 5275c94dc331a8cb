#include "files.h"

#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include <arc/StringConv.h>
#include <arc/data/DataHandle.h>
#include <arc/data/DataMover.h>
#include <arc/data/FileCache.h>
#include <arc/data/URLMap.h>

#include "jobs.h"
#include "session.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

// A CE must not be able to make list_directory recurse without end. No sane job nests directories this deep.
constexpr int max_depth = 100;

std::unique_ptr<Arc::DataHandle> open_data(const Session& session, const Arc::URL& url) {
  // Arc::DataHandle::getLoader creates its static loader without a lock.
  static std::mutex* const loading = new std::mutex;
  const std::lock_guard<std::mutex> lock(*loading);
  auto handle = std::make_unique<Arc::DataHandle>(url, session.config());
  if (!*handle) throw std::runtime_error("ARC has no plugin for " + url.str());
  return handle;
}

std::list<Arc::FileInfo> read_directory(const Session& session, const Arc::URL& directory) {
  const auto handle = open_data(session, directory);
  std::list<Arc::FileInfo> entries;
  const Arc::DataStatus status =
      (*handle)->List(entries, static_cast<Arc::DataPoint::DataPointInfoType>(Arc::DataPoint::INFO_TYPE_NAME |
                                                                              Arc::DataPoint::INFO_TYPE_TYPE |
                                                                              Arc::DataPoint::INFO_TYPE_CONTENT));
  if (!status.Passed()) throw std::runtime_error("cannot list " + directory.str() + ": " + std::string(status));
  return entries;
}

// The name of an entry in a directory, empty for the directory itself.
//
// ARC ends the names of directories with a slash. A-REX's REST interface would begin the names in such a directory with
// another one (ProcessPROPFIND). If the path of the directory has characters that are encoded in a URL, the name is the
// whole URL (DataPointHTTP::do_list_webdav, 6.17 and 7.0).
std::string name_in(const Arc::URL& directory, std::string name) {
  name.erase(name.find_last_not_of('/') + 1);
  const std::size_t authority = name.find("://");
  const std::size_t path = authority == std::string::npos ? authority : name.find('/', authority + 3);
  if (path == std::string::npos) return name;
  for (std::string base : {Arc::uri_encode(directory.Path(), false), directory.Path()}) {
    base.erase(base.find_last_not_of('/') + 1);
    if (name.compare(path, base.size(), base) != 0) continue;
    const std::string rest = name.substr(path + base.size());
    if (rest.empty() || rest.front() == '/') return rest.substr(std::min<std::size_t>(rest.size(), 1));
  }
  return name;
}

// Appends the files in a directory and its subdirectories. `prefix` is the directory's path in the session directory,
// empty or with a slash at its end.
void list_directory(const Session& session, const Arc::URL& directory, const std::string& prefix, int depth,
                    rust::Vec<RemoteFile>& files) {
  if (depth > max_depth) throw std::runtime_error("the session directory is nested too deep at " + prefix);
  for (const Arc::FileInfo& entry : read_directory(session, directory)) {
    const std::string name = name_in(directory, entry.GetName());
    if (name.empty() || name == "." || name == "..") continue;
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
      throw std::runtime_error("ARC has no URL for the job's session directory");
  }
  rust::Vec<RemoteFile> files;
  list_directory(session, directory, "", 0, files);
  return files;
}

// Arc::Job::CopyJobFile does the same with two static handles, which all threads of the process would share.
void fetch_file(const Session& session, rust::Str url, rust::Str path) {
  Arc::URL source_url{std::string(url)};
  source_url.AddOption("checksum=no", false);
  Arc::URL target_url("file:///");
  target_url.ChangePath(std::string(path));
  const auto source_handle = open_data(session, source_url);
  const auto target_handle = open_data(session, target_url);
  Arc::DataPoint& source = **source_handle;
  Arc::DataPoint& target = **target_handle;
  source.SetAdditionalChecks(false);
  target.SetAdditionalChecks(false);
  source.SetTries(2);
  target.SetTries(1);
  Arc::DataMover mover;
  mover.retry(true);
  mover.secure(false);
  mover.passive(true);
  mover.verbose(false);
  mover.checks(false);
  Arc::FileCache no_cache;
  const Arc::DataStatus status =
      mover.Transfer(source, target, no_cache, Arc::URLMap(), 0, 0, 0, session.config().Timeout());
  if (!status.Passed()) throw std::runtime_error(std::string(status));
}

} // namespace jasmin_arc
