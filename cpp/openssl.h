// Owners of OpenSSL's objects, and PEM files.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace jasmin_arc {

/// Frees an object of OpenSSL with its function.
template <auto function>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    function(object);
  }
};

using Bio = std::unique_ptr<BIO, Free<&BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<&X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<&EVP_PKEY_free>>;

/// Clears OpenSSL's errors when a function ends. They are in a queue of the thread, where ARC would find them.
struct ClearErrors {
  ~ClearErrors() { ERR_clear_error(); }
};

inline Bio open_file(const std::string& path) {
  Bio file(BIO_new_file(path.c_str(), "r"));
  if (!file) throw std::runtime_error("cannot open " + path);
  return file;
}

inline std::string to_pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || !PEM_write_bio_X509(bio.get(), certificate)) throw std::runtime_error("cannot encode a certificate");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

} // namespace jasmin_arc
