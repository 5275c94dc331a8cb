// What ARC's client classes need to know of the user: an Arc::UserConfig.
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

private:
  Arc::UserConfig config_;
};

/// The session with these settings. There is one for each settings in a process, and it is never destroyed: ARC's
/// plugins are shared by the whole process and keep pointers to the last UserConfig that they were used with.
std::shared_ptr<Session> new_session(const SessionSettings& settings);

/// ARC's plugins and their loaders are shared and have no locks: whoever uses them holds this one.
std::mutex& plugins();

} // namespace jasmin_arc
