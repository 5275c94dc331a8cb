#include "delegation.h"

#include <stdexcept>
#include <string>

#include <arc/delegation/DelegationInterface.h>

namespace jasmin_arc {

rust::String sign_delegation(rust::Str proxy, rust::Str request) {
  const std::string file(proxy);
  // A proxy's key is never encrypted, so nothing is asked for.
  Arc::DelegationProvider provider(file, file);
  const std::string signed_chain = provider.Delegate(std::string(request));
  if (signed_chain.empty()) throw std::runtime_error("the delegation cannot be signed with the proxy");
  return signed_chain;
}

} // namespace jasmin_arc
