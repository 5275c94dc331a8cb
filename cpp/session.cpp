#include "session.h"

#include <map>
#include <string>
#include <tuple>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

Session::Session(const SessionSettings& settings)
    // SkipCredentials: ARC reads no client.conf and searches no credentials. It uses these settings alone.
    : config_(Arc::initializeCredentialsType(Arc::initializeCredentialsType::SkipCredentials)),
      verify_host_(settings.verify_host) {
  config_.ProxyPath(std::string(settings.proxy));
  config_.CACertificatesDirectory(std::string(settings.ca_directory));
  config_.Timeout(static_cast<int>(settings.timeout_seconds));
}

std::shared_ptr<Session> new_session(const SessionSettings& settings) {
  using Key = std::tuple<std::string, std::string, std::uint32_t, bool>;
  static std::mutex* const mutex = new std::mutex;
  static auto* const sessions = new std::map<Key, std::shared_ptr<Session>>;
  const std::lock_guard<std::mutex> lock(*mutex);
  std::shared_ptr<Session>& session = (*sessions)[Key(std::string(settings.proxy), std::string(settings.ca_directory),
                                                      settings.timeout_seconds, settings.verify_host)];
  if (!session) session = std::make_shared<Session>(settings);
  return session;
}

std::mutex& plugins() {
  static std::mutex* const instance = new std::mutex;
  return *instance;
}

} // namespace jasmin_arc
