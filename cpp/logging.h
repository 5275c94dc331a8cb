// ARC's log, handed to Rust.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace jasmin_arc {

/// Sends every message of ARC's root logger to Rust, and to nowhere else.
void logging_start();

/// Takes the destination away. ARC's threads may go on logging, into nothing.
void logging_stop() noexcept;

/// Sets ARC's threshold (Arc::LogLevel's values: 1 debug ... 32 fatal).
void logging_threshold(std::uint32_t level);

/// Logs a message through ARC's root logger, for the tests.
void logging_say(std::uint32_t level, rust::Str text);

} // namespace jasmin_arc
