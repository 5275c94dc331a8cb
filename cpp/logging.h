// Sending ARC's log to Rust.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace jasmin_arc {

/// Makes Rust the only destination of ARC's root logger.
void logging_start();

/// Removes the destination and flushes Rust's logs. What ARC's threads log later is dropped.
void logging_stop() noexcept;

/// Sets the level below which ARC drops messages, one of Arc::LogLevel's values (1 debug to 32 fatal).
void logging_threshold(std::uint32_t level);

/// Logs a message through ARC's root logger. For tests.
void logging_message(std::uint32_t level, rust::Str text);

} // namespace jasmin_arc
