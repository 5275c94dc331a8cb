#include "files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arc/StringConv.h>
#include <arc/data/DataBuffer.h>
#include <arc/data/DataHandle.h>

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

// A local file that is written.
class File {
public:
  explicit File(const char* path) : descriptor(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR)) {
    if (descriptor < 0) throw std::runtime_error(std::string("the local file cannot be created: ") + std::strerror(errno));
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { close(descriptor); }

  // Returns 0, or the error.
  int write(const char* bytes, std::size_t length, unsigned long long offset) const {
    while (length > 0) {
      const ssize_t written = pwrite(descriptor, bytes, length, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno;
      bytes += written;
      length -= static_cast<std::size_t>(written);
      offset += static_cast<unsigned long long>(written);
    }
    return 0;
  }

private:
  int descriptor;
};

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

// Arc::Job::CopyJobFile does the same with two static handles, which all threads of the process would share. Arc::DataMover
// cannot write the file: ARC 7 closes the descriptor of a file that it has written twice (DataPointFile::StopWriting), and
// the second time it may be another thread's.
void fetch_file(const Session& session, rust::Str url, rust::Str path) {
  Arc::URL source_url{std::string(url)};
  source_url.AddOption("checksum=no", false);
  const auto source_handle = open_data(session, source_url);
  Arc::DataPoint& source = **source_handle;
  source.SetAdditionalChecks(false);
  const File file(std::string(path).c_str());
  Arc::DataBuffer buffer;
  buffer.speed.set_max_inactivity_time(session.config().Timeout());
  const Arc::DataStatus started = source.StartReading(buffer);
  if (!started.Passed()) throw std::runtime_error(std::string(started));
  int error = 0;
  int block;
  unsigned int length;
  unsigned long long offset;
  while (!error && buffer.for_write(block, length, offset, true)) {
    error = file.write(buffer[block], length, offset);
    buffer.is_written(block);
  }
  const bool failed = buffer.error();
  const Arc::DataStatus stopped = source.StopReading();
  if (error) throw std::runtime_error(std::string("the local file cannot be written: ") + std::strerror(error));
  if (!failed && stopped.Passed()) return;
  const Arc::DataStatus reason = source.GetFailureReason();
  throw std::runtime_error(std::string(reason.Passed() ? stopped : reason));
}

} // namespace jasmin_arc
