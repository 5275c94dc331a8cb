// Servers and responses that a connection refuses.
#pragma once

#include <stdexcept>
#include <string>

namespace jasmin_arc {

/// The reason why a server or its response is refused. src/ffi tells the kinds apart by the beginning of the text.
class Refused : public std::runtime_error {
public:
  enum class Kind { untrusted, invalid_response, timed_out };
  Refused(Kind kind, const std::string& why);
};

} // namespace jasmin_arc
