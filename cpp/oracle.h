// For the tests and the fuzzers only: ARC's readers of ADL and xRSL, by which they judge those in Rust, and the guard's
// view of a response.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rust/cxx.h"

namespace jasmin_arc {

struct ReadDescription;

/// Reads the descriptions in a text.
rust::Vec<ReadDescription> read_descriptions(rust::Str text, rust::Str language);

/// What the guard makes of a response that arrives in parts of `part` bytes: whether it is complete, open or refused and
/// why, where it ends, and its head.
rust::String follow_framing(rust::Slice<const std::uint8_t> response, std::size_t part);

} // namespace jasmin_arc
