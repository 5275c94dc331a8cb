#include "trycatch.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <memory>

#include "versions.h"

namespace jasmin_arc {

const char* const exiting_message = "jasmin_arc: the process is exiting";
const char* const forked_message = "this process was forked from one that uses jasmin-arc";

namespace {

std::string type_name_of_current_exception() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (!type) return "unknown exception";
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                   &std::free);
  return std::string("exception of type ") + (status == 0 && name ? name.get() : type->name());
}

} // namespace

std::string current_exception_text() noexcept {
  try {
    try {
      throw;
#ifdef JASMIN_ARC_GLIB_EXCEPTION
    } catch (const Glib::Exception& e) {
      return e.what();
#endif
    } catch (const std::exception& e) {
      return e.what();
    } catch (const std::string& text) {
      return text;
    } catch (const char* text) {
      return text ? text : "";
    } catch (...) {
      return type_name_of_current_exception();
    }
  } catch (...) {
    return std::string(); // no memory for the text
  }
}

} // namespace jasmin_arc
