#include "credential.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/objects.h>

#include "openssl.h"
#include "versions.h"

#include "jasmin-arc/src/ffi/bridge.rs.h"

namespace jasmin_arc {

namespace {

std::time_t to_time(const ASN1_TIME* time) {
  struct tm fields;
  if (!ASN1_TIME_to_tm(time, &fields)) throw std::runtime_error("a certificate has an invalid time");
  return timegm(&fields);
}

// The extension in which arcproxy and voms-proxy-init put the attributes that a VOMS server certifies.
constexpr const char* voms_extension = "1.3.6.1.4.1.8005.100.100.5";

bool has_voms_extension(X509* certificate) {
  const std::unique_ptr<ASN1_OBJECT, Free<&ASN1_OBJECT_free>> name(OBJ_txt2obj(voms_extension, 1));
  return name && X509_get_ext_by_OBJ(certificate, name.get(), -1) >= 0;
}

// Whether a certificate has the ProxyCertInfo extension, which marks proxy certificates (RFC 3820, section 3.8).
bool is_proxy(X509* certificate) { return X509_get_ext_by_NID(certificate, NID_proxyCertInfo, -1) >= 0; }

} // namespace

CredentialFile read_credential(rust::Str path) {
  const auto read = open_credential(std::string(path));
  const Arc::Credential& credential = *read;
  X509* const first = credential.GetCert();
  if (!first) throw std::runtime_error("the file holds no certificate");
  const Certificate own(first); // GetCert returns a copy

  std::time_t not_before = to_time(X509_get0_notBefore(first));
  std::time_t not_after = to_time(X509_get0_notAfter(first));
  X509* end_entity = is_proxy(first) ? nullptr : first;
  bool has_voms = has_voms_extension(first);

  STACK_OF(X509)* const chain = credential.GetCertChain();
  const auto free_chain = [](STACK_OF(X509)* stack) { sk_X509_pop_free(stack, X509_free); };
  std::unique_ptr<STACK_OF(X509), decltype(free_chain)> own_chain(chain, free_chain); // GetCertChain returns a copy
  for (int n = 0; !end_entity && chain && n < sk_X509_num(chain); ++n) {
    X509* const link = sk_X509_value(chain, n);
    not_before = std::max(not_before, to_time(X509_get0_notBefore(link)));
    not_after = std::min(not_after, to_time(X509_get0_notAfter(link)));
    has_voms = has_voms || has_voms_extension(link);
    if (!is_proxy(link)) end_entity = link;
  }
  if (!end_entity)
    throw std::runtime_error("the file holds a proxy certificate without the certificate that issued it");

  CredentialFile result;
  result.identity = credential.GetIdentityName();
  result.certificate = to_pem(end_entity);
  result.not_before = not_before;
  result.not_after = not_after;
  result.has_voms = has_voms;
  return result;
}

namespace {

// Gives OpenSSL a passphrase. Without this function, OpenSSL would prompt. It clears its buffer after use.
int give_passphrase(char* buffer, int size, int, void* passphrase) {
  const auto& bytes = *static_cast<rust::Slice<const std::uint8_t>*>(passphrase);
  if (bytes.empty() || bytes.size() > static_cast<std::size_t>(size)) return -1;
  std::copy(bytes.begin(), bytes.end(), buffer);
  return static_cast<int>(bytes.size());
}

Key read_key(rust::Str path, rust::Slice<const std::uint8_t> passphrase) {
  return Key(PEM_read_bio_PrivateKey(open_file(std::string(path)).get(), nullptr, &give_passphrase, &passphrase));
}

} // namespace

bool can_decrypt(rust::Str key, rust::Slice<const std::uint8_t> passphrase) {
  const ClearErrors clear_errors;
  return read_key(key, passphrase) != nullptr;
}

bool is_key_of(rust::Str key, rust::Slice<const std::uint8_t> passphrase, rust::Str certificate) {
  const ClearErrors clear_errors;
  const Key private_key = read_key(key, passphrase);
  if (!private_key) throw std::runtime_error("no private key in " + std::string(key));
  rust::Slice<const std::uint8_t> none;
  const Certificate x509(
      PEM_read_bio_X509(open_file(std::string(certificate)).get(), nullptr, &give_passphrase, &none));
  if (!x509) throw std::runtime_error("no certificate in " + std::string(certificate));
  return X509_check_private_key(x509.get(), private_key.get()) == 1;
}

} // namespace jasmin_arc
