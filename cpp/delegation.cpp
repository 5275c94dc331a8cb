#include "delegation.h"

#include <sstream>
#include <stdexcept>
#include <string>

#include <arc/delegation/DelegationInterface.h>

namespace jasmin_arc {

rust::String sign_delegation(rust::Str proxy, rust::Str request) {
  const std::string file(proxy);
  // Without a stream OpenSSL prompts on the terminal for the password of an encrypted key.
  std::istringstream no_password;
  Arc::DelegationProvider provider(file, file, &no_password);
  // Arc::DelegationProvider::Delegate prints to stderr if there is no certificate or key.
  if (!provider) throw std::runtime_error("the proxy certificate or its key cannot be read from " + file);
  const std::string signed_chain = provider.Delegate(std::string(request));
  if (signed_chain.empty()) throw std::runtime_error("the delegation cannot be signed with the proxy certificate");
  return signed_chain;
}

} // namespace jasmin_arc
