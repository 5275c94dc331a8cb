// The differences between the versions of ARC that the shim supports, 6.17 to 7.2. Each is found in the headers that are
// installed: no version number decides.
#pragma once

#include <memory>
#include <mutex> // HostnameResolver.h of ARC 7.2 uses std::mutex without it
#include <string>
#include <type_traits>
#include <utility>

#if __has_include(<glibmm/exception.h>)
#include <glibmm/exception.h>
/// Whether exceptions of glibmm are no std::exception, as in glibmm-2.4, which ARC 6.17 and 7.0 use in Debian.
#define JASMIN_ARC_GLIB_EXCEPTION 1
#endif

#include <arc/HostnameResolver.h>
#include <arc/credential/Credential.h>
#include <arc/credential/PasswordSource.h>

namespace jasmin_arc {

/// Opens the certificates of a file. Arc::Credential's constructor takes flags that select the system's CA certificates
/// before the password: none in ARC 6, one in 7.0, three in 7.2.
template <typename Credential = Arc::Credential>
std::unique_ptr<Credential> open_credential(const std::string& path) {
  using Text = const std::string&;
  Arc::PasswordSourceNone none; // keeps ARC from prompting: the key is not needed here
  const std::string unset;
  if constexpr (std::is_constructible_v<Credential, Text, Text, Text, Text, Arc::PasswordSource&>)
    return std::make_unique<Credential>(path, unset, unset, unset, none);
  else if constexpr (std::is_constructible_v<Credential, Text, Text, Text, Text, bool, Arc::PasswordSource&>)
    return std::make_unique<Credential>(path, unset, unset, unset, false, none);
  else
    return std::make_unique<Credential>(path, unset, unset, unset, false, false, false, none);
}

template <typename Job, typename = void> struct HasDelegation : std::false_type {};
template <typename Job>
struct HasDelegation<Job, std::void_t<decltype(std::declval<Job&>().X509Delegation)>> : std::true_type {};

/// Sets whether a job gets the user's credentials. ARC 6 has no such setting and gives them to every job.
template <typename Job> void set_delegation(Job& job, [[maybe_unused]] bool delegate) {
  if constexpr (HasDelegation<Job>::value) job.X509Delegation = delegate;
}

} // namespace jasmin_arc
