// A job description in ARC's own terms.
#pragma once

#include <string>

#include <arc/compute/JobDescription.h>

#include "rust/cxx.h"

namespace jasmin_arc {

struct Description;
struct ReadDescription;

/// As it is submitted: in the terms of the EMI Activity Description Language.
Arc::JobDescription to_arc(const Description& description);

/// The description in one of the languages that ARC writes ("emies:adl", "nordugrid:xrsl").
rust::String describe(const Description& description, rust::Str language);

/// Whether ARC decodes the URLs that it reads, and the paths.
bool decodes_urls();

/// The descriptions in a text.
rust::Vec<ReadDescription> read_descriptions(rust::Str text, rust::Str language);

} // namespace jasmin_arc
