// ARC's readers of ADL and xRSL, by which the tests judge those in Rust. Nothing else uses them.
#pragma once

#include "rust/cxx.h"

namespace jasmin_arc {

struct ReadDescription;

/// Reads the descriptions in a text.
rust::Vec<ReadDescription> read_descriptions(rust::Str text, rust::Str language);

} // namespace jasmin_arc
