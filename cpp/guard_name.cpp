#include "guard_name.h"

#include <memory>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace jasmin_arc {

namespace {

template <typename T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const { release(object); }
};

using Certificate = std::unique_ptr<X509, Release<X509, X509_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Release<GENERAL_NAMES, GENERAL_NAMES_free>>;

constexpr unsigned int strict = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

// The most names that a message lists.
constexpr int max_names = 10;

Certificate read(const std::string& pem) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                      &BIO_free);
  if (!bio) return nullptr;
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error(); // ARC reports what is left in the queue as the cause of a later failure
  return certificate;
}

std::string text_of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) return {};
  const std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

// The last CN of the subject without a leading "host/".
std::string common_name(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  int last = -1;
  for (int next = -1; (next = X509_NAME_get_index_by_NID(subject, NID_commonName, next)) >= 0;) last = next;
  if (last < 0) return {};
  const std::string name = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
  return name.compare(0, 5, "host/") == 0 ? name.substr(5) : name;
}

// Compares a host name with a CN. OpenSSL compares whole certificates, so one that has only this CN is made.
bool matches(const std::string& common_name, const std::string& host) {
  const Certificate certificate(X509_new());
  return certificate &&
         X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1 &&
         X509_check_host(certificate.get(), host.data(), host.size(),
                         X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

bool is_address(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

std::string subject_of(const X509* certificate) {
  char text[256];
  return X509_NAME_oneline(X509_get_subject_name(certificate), text, sizeof(text)) ? text : "";
}

void add(std::string& list, const std::string& name) { list += (list.empty() ? "" : ", ") + name; }

// The host names and addresses in subjectAltName, as a message shows them.
std::string list(const GENERAL_NAMES* names) {
  std::string text;
  for (int index = 0, shown = 0; index < sk_GENERAL_NAME_num(names); ++index) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, index);
    std::string entry;
    if (name->type == GEN_DNS) entry = text_of(name->d.dNSName);
    if (name->type == GEN_IPADD) {
      char buffer[INET6_ADDRSTRLEN];
      const ASN1_OCTET_STRING* address = name->d.iPAddress;
      const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
      if (family == AF_INET || ASN1_STRING_length(address) == 16)
        entry = inet_ntop(family, ASN1_STRING_get0_data(address), buffer, sizeof(buffer));
    }
    if (entry.empty()) continue;
    if (++shown > max_names) return text + ", ...";
    add(text, entry);
  }
  return text;
}

} // namespace

std::string other_name(const std::string& pem, const std::string& host) {
  const Certificate certificate = read(pem);
  if (!certificate) return "no host, as it cannot be read";
  const std::string subject = " (its subject is " + subject_of(certificate.get()) + ")";
  // A proxy certificate acts for its owner and is no server's.
  if (X509_get_ext_by_NID(certificate.get(), NID_proxyCertInfo, -1) >= 0) return "no host, as it is a proxy" + subject;

  std::string name = host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  if (!name.empty() && name.back() == '.') name.pop_back(); // the root of the domain name system
  // OpenSSL takes a leading dot as any subdomain, and an empty name as any name.
  if (name.empty() || name.front() == '.') return "no such host" + subject;

  const bool has_names = X509_get_ext_by_NID(certificate.get(), NID_subject_alt_name, -1) >= 0;
  if (is_address(name)) {
    if (X509_check_ip_asc(certificate.get(), name.c_str(), 0) == 1) return {};
  } else if (has_names) {
    if (X509_check_host(certificate.get(), name.data(), name.size(), strict, nullptr) == 1) return {};
  } else if (matches(common_name(certificate.get()), name)) {
    return {};
  }
  ERR_clear_error();

  if (!has_names) {
    const std::string common = common_name(certificate.get());
    return (common.empty() ? "no host" : common) + subject;
  }
  const Names names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  const std::string listed = names ? list(names.get()) : "";
  return (listed.empty() ? "no host" : listed) + subject;
}

rust::String named_instead(rust::Str pem, rust::Str host) {
  return rust::String::lossy(other_name(std::string(pem), std::string(host)));
}

} // namespace jasmin_arc
