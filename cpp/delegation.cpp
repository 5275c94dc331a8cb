#include "delegation.h"

#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "openssl.h"

namespace jasmin_arc {

namespace {

using Request = std::unique_ptr<X509_REQ, Free<&X509_REQ_free>>;
using Name = std::unique_ptr<X509_NAME, Free<&X509_NAME_free>>;
using ProxyInfo = std::unique_ptr<PROXY_CERT_INFO_EXTENSION, Free<&PROXY_CERT_INFO_EXTENSION_free>>;

// Globus limits what such a proxy certificate may do, and expects the same of the certificates that it signs.
constexpr const char* globus_limited_proxy = "1.3.6.1.4.1.3536.1.1.1.9";

// The validity of a delegation begins this many seconds ago, for a CE whose clock is behind.
constexpr std::time_t clock_difference = 300;

void must(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// Without this function, OpenSSL would prompt for the passphrase of an encrypted key.
int no_passphrase(char*, int, int, void*) { return -1; }

struct Proxy {
  Certificate certificate;
  Key key;
  std::vector<Certificate> chain;
};

Proxy read_proxy(const std::string& path) {
  Proxy proxy;
  const Bio file = open_file(path);
  proxy.certificate.reset(PEM_read_bio_X509(file.get(), nullptr, &no_passphrase, nullptr));
  must(proxy.certificate != nullptr, "it has no certificate");
  while (X509* const next = PEM_read_bio_X509(file.get(), nullptr, &no_passphrase, nullptr))
    proxy.chain.emplace_back(next);
  // The same file again: another process may replace it with a new proxy certificate and key at any moment.
  must(BIO_reset(file.get()) == 0, "it cannot be read twice");
  proxy.key.reset(PEM_read_bio_PrivateKey(file.get(), nullptr, &no_passphrase, nullptr));
  must(proxy.key != nullptr, "it has no unencrypted key");
  return proxy;
}

// Whether the key of a request has signed it. A-REX 6.17 writes version 3 into its requests, which X509_REQ_verify
// refuses from OpenSSL 3.5 on, because RFC 2986 has version 1 only.
bool is_signed(X509_REQ* request, EVP_PKEY* key) {
  const ASN1_BIT_STRING* signature = nullptr;
  const X509_ALGOR* algorithm = nullptr;
  X509_REQ_get0_signature(request, &signature, &algorithm);
  int digest = NID_undef;
  if (!signature || !OBJ_find_sigid_algs(OBJ_obj2nid(algorithm->algorithm), &digest, nullptr)) return false;
  unsigned char* content = nullptr;
  const int size = i2d_re_X509_REQ_tbs(request, &content);
  if (size <= 0) return false;
  struct FreeContent {
    void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
  };
  const std::unique_ptr<unsigned char, FreeContent> own(content);
  const std::unique_ptr<EVP_MD_CTX, Free<&EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  return context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_get_digestbynid(digest), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), signature->data, static_cast<std::size_t>(signature->length), content,
                          static_cast<std::size_t>(size)) == 1;
}

// Limits a certificate to what its issuer may do.
bool add_proxy_info(X509* certificate, X509* issuer) {
  const ProxyInfo of_issuer(
      static_cast<PROXY_CERT_INFO_EXTENSION*>(X509_get_ext_d2i(issuer, NID_proxyCertInfo, nullptr, nullptr)));
  ASN1_OBJECT* const limited = OBJ_txt2obj(globus_limited_proxy, 1);
  const ProxyInfo info(PROXY_CERT_INFO_EXTENSION_new());
  if (!limited || !info) return false;
  const bool is_limited = of_issuer && OBJ_cmp(of_issuer->proxyPolicy->policyLanguage, limited) == 0;
  info->proxyPolicy->policyLanguage = is_limited ? limited : OBJ_nid2obj(NID_id_ppl_inheritAll);
  if (!is_limited) ASN1_OBJECT_free(limited);
  return X509_add1_ext_i2d(certificate, NID_proxyCertInfo, info.get(), 1, X509V3_ADD_DEFAULT) == 1;
}

bool add_key_usage(X509* certificate) {
  const std::unique_ptr<X509_EXTENSION, Free<&X509_EXTENSION_free>> usage(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_key_usage, "critical,digitalSignature,keyEncipherment"));
  return usage && X509_add_ext(certificate, usage.get(), -1);
}

// The subject of a proxy certificate is its issuer's and one more common name (RFC 3820, section 3.4).
bool set_names(X509* certificate, X509* issuer) {
  std::uint32_t random = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&random), sizeof(random)) != 1) return false;
  const long serial = random >> 1;
  const std::string common_name = std::to_string(serial);
  const Name subject(X509_NAME_dup(X509_get_subject_name(issuer)));
  return subject && ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) &&
         X509_set_issuer_name(certificate, subject.get()) &&
         X509_NAME_add_entry_by_NID(subject.get(), NID_commonName, MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0) &&
         X509_set_subject_name(certificate, subject.get());
}

bool set_validity(X509* certificate, X509* issuer) {
  std::time_t start = std::time(nullptr) - clock_difference;
  const ASN1_TIME* const earliest = X509_get0_notBefore(issuer);
  const bool has_start = X509_cmp_time(earliest, &start) < 0
                             ? ASN1_TIME_set(X509_getm_notBefore(certificate), start) != nullptr
                             : X509_set1_notBefore(certificate, earliest) == 1;
  return has_start && X509_set1_notAfter(certificate, X509_get0_notAfter(issuer));
}

} // namespace

// This does what Arc::DelegationProvider does, which cannot sign the requests of all versions of A-REX (is_signed).
rust::String sign_delegation(rust::Str proxy, rust::Str request) {
  const ClearErrors clear_errors;
  const std::string path(proxy);
  Proxy issuer;
  try {
    issuer = read_proxy(path);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("the proxy certificate and its key cannot be read from " + path + ": " + error.what());
  }
  const Bio text(BIO_new_mem_buf(request.data(), static_cast<int>(request.size())));
  const Request parsed(PEM_read_bio_X509_REQ(text.get(), nullptr, &no_passphrase, nullptr));
  must(parsed != nullptr, "the CE's certificate request cannot be read");
  EVP_PKEY* const key = X509_REQ_get0_pubkey(parsed.get());
  must(key && is_signed(parsed.get(), key), "the CE's certificate request is not signed with its key");

  const Certificate delegation(X509_new());
  X509* const from = issuer.certificate.get();
  must(delegation && X509_set_version(delegation.get(), X509_VERSION_3) && set_names(delegation.get(), from) &&
           set_validity(delegation.get(), from) && X509_set_pubkey(delegation.get(), key) &&
           add_key_usage(delegation.get()) && add_proxy_info(delegation.get(), from) &&
           X509_sign(delegation.get(), issuer.key.get(), EVP_sha256()),
       "the delegation cannot be signed with the proxy certificate");
  std::string chain = to_pem(delegation.get()) + to_pem(from);
  for (const Certificate& link : issuer.chain) chain += to_pem(link.get());
  return chain;
}

} // namespace jasmin_arc
