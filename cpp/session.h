// The credentials and timeout that ARC's client classes use: an Arc::UserConfig.
#pragma once

#include <memory>
#include <mutex>

#include <arc/UserConfig.h>

#include "rust/cxx.h"

namespace jasmin_arc {

struct SessionSettings;

class Session {
public:
  explicit Session(const SessionSettings& settings);
  const Arc::UserConfig& config() const { return config_; }

  /// Whether the certificate of a server must name its host.
  bool verify_host() const { return verify_host_; }

private:
  Arc::UserConfig config_;
  bool verify_host_;
};

/// Returns the process's session with these settings, created when they are first used. A session is never destroyed:
/// ARC's plugin objects are shared by the whole process and keep pointers to the last UserConfig that they were used
/// with.
std::shared_ptr<Session> new_session(const SessionSettings& settings);

/// The lock for all use of submitter and job controller plugins. ARC shares their loaders and the plugin objects across
/// the process without locks (Arc::Submitter::getLoader, Arc::Job::getLoader).
std::mutex& plugins();

} // namespace jasmin_arc
