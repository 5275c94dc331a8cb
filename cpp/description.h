// A job description in ARC's own terms.
#pragma once

#include <arc/compute/JobDescription.h>

#include "rust/cxx.h"

namespace jasmin_arc {

struct Description;

Arc::JobDescription to_arc(const Description& description);

/// The description in the EMI Activity Description Language, as ARC writes it.
rust::String to_adl(const Description& description);

} // namespace jasmin_arc
