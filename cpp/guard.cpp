#include "guard.h"

namespace jasmin_arc {

namespace {

const char* prefix(Refused::Kind kind) {
  switch (kind) {
  case Refused::Kind::untrusted:
    return "jasmin_arc: untrusted: ";
  case Refused::Kind::invalid_response:
    return "jasmin_arc: invalid response: ";
  default:
    return "jasmin_arc: timed out: ";
  }
}

} // namespace

Refused::Refused(Kind kind, const std::string& why) : std::runtime_error(prefix(kind) + why) {}

} // namespace jasmin_arc
