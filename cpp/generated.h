// Included by the code that cxx generates, after all other headers of the bridge, and by nothing else.
#pragma once

// The generated constructor of rust::Vec passes the object that it initialises as a pointer to const, which g++ 16 takes for
// a use of an uninitialised object. Only the generated source includes this header itself. The generated header brings it
// into our own sources at a deeper level, and they keep the warning.
#if defined(__GNUC__) && !defined(__clang__) && __INCLUDE_LEVEL__ == 1
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
