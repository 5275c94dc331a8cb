#include "credential.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <arc/credential/Credential.h>
#include <arc/credential/PasswordSource.h>

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

std::string to_pem(X509* certificate) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  if (!bio || !PEM_write_bio_X509(bio.get(), certificate)) throw std::runtime_error("cannot encode a certificate");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

std::time_t to_time(const ASN1_TIME* time) {
  struct tm fields;
  if (!ASN1_TIME_to_tm(time, &fields)) throw std::runtime_error("a certificate has no valid time");
  return timegm(&fields);
}

// ARC's constructor takes one, no or three flags for the system's CA certificates before the password, by version.
// A password is never asked for: the key is of no interest here.
template <typename Credential>
std::unique_ptr<Credential> open_credential(const std::string& path) {
  Arc::PasswordSourceNone none;
  const std::string no;
  if constexpr (std::is_constructible_v<Credential, const std::string&, const std::string&, const std::string&,
                                        const std::string&, Arc::PasswordSource&>)
    return std::make_unique<Credential>(path, no, no, no, none);
  else if constexpr (std::is_constructible_v<Credential, const std::string&, const std::string&, const std::string&,
                                             const std::string&, bool, Arc::PasswordSource&>)
    return std::make_unique<Credential>(path, no, no, no, false, none);
  else
    return std::make_unique<Credential>(path, no, no, no, false, false, false, none);
}

// A proxy's subject is its issuer's with one more CN (RFC 3820, 3.4).
bool is_proxy(X509* certificate) { return X509_get_ext_by_NID(certificate, NID_proxyCertInfo, -1) >= 0; }

} // namespace

CredentialFile read_credential(rust::Str path) {
  const auto read = open_credential<Arc::Credential>(std::string(path));
  const Arc::Credential& credential = *read;
  X509* const first = credential.GetCert();
  if (!first) throw std::runtime_error("there is no certificate in it");
  std::unique_ptr<X509, decltype(&X509_free)> own(first, &X509_free); // GetCert gives a copy

  std::time_t not_before = to_time(X509_get0_notBefore(first));
  std::time_t not_after = to_time(X509_get0_notAfter(first));
  X509* end_entity = is_proxy(first) ? nullptr : first;

  STACK_OF(X509)* const chain = credential.GetCertChain();
  const auto free_chain = [](STACK_OF(X509)* stack) { sk_X509_pop_free(stack, X509_free); };
  std::unique_ptr<STACK_OF(X509), decltype(free_chain)> own_chain(chain, free_chain); // a copy too
  for (int n = 0; !end_entity && chain && n < sk_X509_num(chain); ++n) {
    X509* const link = sk_X509_value(chain, n);
    not_before = std::max(not_before, to_time(X509_get0_notBefore(link)));
    not_after = std::min(not_after, to_time(X509_get0_notAfter(link)));
    if (!is_proxy(link)) end_entity = link;
  }
  if (!end_entity) throw std::runtime_error("there is a proxy in it, but not the certificate that it was made from");

  CredentialFile result;
  result.identity = credential.GetIdentityName();
  result.certificate = to_pem(end_entity);
  result.not_before = not_before;
  result.not_after = not_after;
  return result;
}

} // namespace jasmin_arc
