#include "logging.h"

#include <sstream>
#include <string>

#include <arc/Logger.h>
#include <arc/Utils.h>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

class RustDestination : public Arc::LogDestination {
public:
  // Arc::Logger::log calls this under a lock that is not recursive: nothing here may log.
  void log(const Arc::LogMessage& message) override {
    try {
      const std::string line = format(message);
      arc_logged(static_cast<std::uint32_t>(message.getLevel()),
                 rust::Slice<const std::uint8_t>(reinterpret_cast<const std::uint8_t*>(line.data()), line.size()));
    } catch (...) {
      // A message that cannot be formatted is lost; the call that logged it goes on.
    }
  }

private:
  // The fields of Arc::LogMessage are private; its long format has all of them.
  static std::string format(const Arc::LogMessage& message) {
    const Arc::EnvLockWrapper lock(false); // gettext reads the environment
    std::ostringstream line;
    line << Arc::LoggerFormat(Arc::LongFormat) << message;
    return line.str();
  }
};

} // namespace

void logging_start() {
  // Never destroyed: ARC's threads log until the process ends.
  static RustDestination* const destination = new RustDestination;
  Arc::Logger& root = Arc::Logger::getRootLogger();
  root.removeDestinations();
  root.addDestination(*destination);
  root.setThreshold(Arc::VERBOSE);
}

void logging_stop() noexcept {
  try {
    Arc::Logger::getRootLogger().removeDestinations();
    arc_log_flush();
  } catch (...) {
    // The process exits; there is nobody to tell.
  }
}

void logging_threshold(std::uint32_t level) {
  Arc::Logger::getRootLogger().setThreshold(static_cast<Arc::LogLevel>(level));
}

void logging_message(std::uint32_t level, rust::Str text) {
  Arc::Logger::getRootLogger().msg(static_cast<Arc::LogLevel>(level), "%s", std::string(text));
}

} // namespace jasmin_arc
