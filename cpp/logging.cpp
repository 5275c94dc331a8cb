#include "logging.h"

#include <sstream>

#include <arc/Logger.h>
#include <arc/Utils.h>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

class ToRust : public Arc::LogDestination {
public:
  void log(const Arc::LogMessage& message) override {
    try {
      // The fields of a message are private; its long format has all of them.
      std::ostringstream line;
      Arc::EnvLockWrap(false); // gettext reads the environment
      line << Arc::LoggerFormat(Arc::LongFormat) << message;
      Arc::EnvLockUnwrap(false);
      const std::string text = line.str();
      arc_logged(static_cast<std::uint32_t>(message.getLevel()), rust::Slice<const std::uint8_t>(
          reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
    } catch (...) {
      // A message that cannot be formatted is lost; the call that logged it goes on.
    }
  }
};

} // namespace

void logging_start() {
  // Never destroyed: ARC's threads log until the very end.
  static ToRust* const destination = new ToRust;
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
  }
}

void logging_threshold(std::uint32_t level) {
  Arc::Logger::getRootLogger().setThreshold(static_cast<Arc::LogLevel>(level));
}

void logging_say(std::uint32_t level, rust::Str text) {
  Arc::Logger::getRootLogger().msg(static_cast<Arc::LogLevel>(level), "%s", std::string(text));
}

} // namespace jasmin_arc
