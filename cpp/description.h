// A job description in ARC's own terms.
#pragma once

#include <string>

#include <arc/compute/JobDescription.h>

#include "rust/cxx.h"

namespace jasmin_arc {

struct Description;

/// The description as it is submitted, which is as ADL.
Arc::JobDescription to_arc(const Description& description);

/// Writes the description in "emies:adl" or "nordugrid:xrsl".
rust::String describe(const Description& description, rust::Str language);

} // namespace jasmin_arc
