#include "runtime.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glibmm.h>
#include <openssl/crypto.h>

#include <arc/ArcLocation.h>
#include <arc/DateTime.h>
#include <arc/Logger.h>
#include <arc/Run.h>
#include <arc/credential/VOMSUtil.h>

#include "logging.h"
#include "versions.h"

namespace jasmin_arc {

namespace {

// --- calls in flight ----------------------------------------------------------------------------------------------

// How long exit waits for calls in flight in other threads.
constexpr std::chrono::seconds exit_patience(5);

struct Gate {
  std::mutex mutex;
  std::condition_variable left;
  unsigned int inside = 0;
  bool closing = false;
};

// Never destroyed: it is used during exit, while static objects are destroyed.
Gate& gate() {
  static Gate* const instance = new Gate;
  return *instance;
}

std::atomic<bool> closing_flag{false};

// --- exit --------------------------------------------------------------------------------------------------------

// Access to the private helper process of Arc::HostnameResolver, whose start time tells a new resolver from a pooled
// one. C++ allows an explicit instantiation to name a private member.
template <typename Tag, typename Tag::type Member>
struct Expose {
  friend typename Tag::type expose(Tag) { return Member; }
};
struct ResolverProcess {
  using type = Arc::Run* Arc::HostnameResolver::*;
  friend type expose(ResolverProcess);
};
template struct Expose<ResolverProcess, &Arc::HostnameResolver::hostname_resolver_>;

// Empties ARC's pool of arc-hostname-resolver processes, and leaks them. In ARC 6.17 and 7.0 the destructor of the
// static Arc::HostnameResolverContainer waits for the thread of RunPump (Run_unix.cpp), which blocks in Logger::msg on
// a static object that is already destroyed, so exit never ends. A resolver that was started after this function means
// that the pool is empty.
void drain_resolver_pool() {
  // Leak detectors do not report what can still be reached.
  static auto& leaked = *new std::vector<Arc::HostnameResolver*>;
  const Arc::Time start;
  for (int n = 0; n < 1000; ++n) {
    Arc::HostnameResolver* resolver = Arc::HostnameResolver::Acquire();
    leaked.push_back(resolver);
    if (!resolver || !*resolver) return;
    Arc::Run* process = resolver->*expose(ResolverProcess());
    if (!process || process->RunTime() >= start) return;
  }
}

// Whether ARC's static objects must not be destroyed, because a thread did not leave ARC in time.
std::atomic<bool> stuck{false};

// The process that initialised ARC, 0 if none did. A process forked from it lacks ARC's threads but has the locks that
// they held.
std::atomic<pid_t> owner{0};

bool is_forked() {
  const pid_t initialiser = owner;
  return initialiser != 0 && initialiser != getpid();
}

// Refuses new calls, and waits for those in flight.
void close_gate() {
  if (is_forked()) return;
  Gate& g = gate();
  std::unique_lock<std::mutex> lock(g.mutex);
  if (g.closing) return;
  g.closing = true;
  closing_flag = true;
  stuck = !g.left.wait_for(lock, exit_patience, [&g] { return g.inside == 0; });
}

// exit() destroys the thread_local objects of its own thread before it runs exit handlers. If the main thread exits,
// calls in flight thus end before any object is destroyed, even one that they have just created.
struct MainThread {
  ~MainThread() { close_gate(); }
};

// Runs after the program's exit handlers and before the destructors of the libraries that it is linked with.
void last_resort(int status, void*) {
  if (!stuck) return;
  std::fflush(nullptr);
  _exit(status);
}

// Runs before main, thus before the program registers exit handlers, and after the libraries are initialised.
__attribute__((constructor)) void watch_main_thread() {
  on_exit(&last_resort, nullptr);
  if (syscall(SYS_gettid) != getpid()) return; // another thread has loaded us, with dlopen
  static thread_local MainThread watched;
  static_cast<void>(&watched);
}

void at_exit(int, void*) {
  static std::atomic<bool> done{false};
  if (done.exchange(true)) return; // it is registered more than once
  if (owner != getpid()) {
    stuck = true;
    return;
  }
  close_gate(); // needed if another thread than the main thread exits
  logging_stop();
  if (stuck) return; // last_resort ends the process
  try {
    drain_resolver_pool();
  } catch (...) {
    // The process exits; there is nobody to tell.
  }
}

// How many libraries had been loaded when at_exit was last registered.
std::atomic<unsigned long long> libraries_seen{0};

unsigned long long libraries_loaded() {
  unsigned long long adds = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t size, void* data) {
        if (size >= offsetof(dl_phdr_info, dlpi_adds) + sizeof(info->dlpi_adds))
          *static_cast<unsigned long long*>(data) = info->dlpi_adds;
        return 1;
      },
      &adds);
  return adds;
}

// Exit handlers and the destructors of libraries run in the reverse order of their registration. at_exit must run
// before the destructors of all libraries that calls use, so it is registered again after new ones have been loaded.
void register_at_exit() {
  libraries_seen = libraries_loaded();
  on_exit(&at_exit, nullptr);
}

// Loads all ARC plugins that calls use, and keeps them loaded. ARC loads and unloads some of them for each connection.
// The static objects of a library that is loaded during a call would be destroyed before at_exit, which was registered
// earlier, has waited for that call.
void load_plugins() {
  for (const std::string& directory : Arc::ArcLocation::GetPlugins()) {
    for (const char* name : {"mcctcp", "mcctls", "mcchttp", "mccsoap", "mccmsgvalidator", "modcrypto", "modcredential",
                             "accARCREST", "accEMIES", "accINTERNAL", "accARCHERY", "accLDAP",
                             "accJobDescriptionParser", "accBroker", "dmcfile", "dmchttp"}) {
      dlopen((directory + "/lib" + name + ".so").c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    }
  }
}

// --- SIGCHLD -----------------------------------------------------------------------------------------------------

struct sigaction program_action; // the program's action, from before ARC was initialised
struct sigaction arc_action;     // ARC's action

void call_handler(const struct sigaction& action, int number, siginfo_t* info, void* context) {
  if (action.sa_flags & SA_SIGINFO) {
    if (action.sa_sigaction) action.sa_sigaction(number, info, context);
  } else if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN && action.sa_handler != SIG_ERR) {
    action.sa_handler(number);
  }
}

void on_sigchld(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  // ARC's handler wakes the thread of RunPump, which logs. During exit parts of the logger are already destroyed.
  if (!closing_flag.load(std::memory_order_relaxed)) call_handler(arc_action, number, info, context);
  call_handler(program_action, number, info, context);
  errno = saved;
}

// Installs a SIGCHLD handler that calls the program's and ARC's. RunPump::Instance (Run_unix.cpp in 6.17 and 7.0)
// replaces the program's action when it is first used, so this function makes ARC use it, by starting a resolver
// process.
void share_sigchld() {
  sigaction(SIGCHLD, nullptr, &program_action);
  Arc::HostnameResolver::Release(Arc::HostnameResolver::Acquire());
  sigaction(SIGCHLD, nullptr, &arc_action);
  struct sigaction both;
  std::memset(&both, 0, sizeof(both));
  both.sa_sigaction = &on_sigchld;
  both.sa_mask = program_action.sa_mask;
  both.sa_flags = SA_SIGINFO | SA_RESTART | (program_action.sa_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_ONSTACK));
  if (!(program_action.sa_flags & SA_SIGINFO) && program_action.sa_handler == SIG_IGN) {
    both.sa_flags |= SA_NOCLDWAIT; // with SIG_IGN the kernel reaps the program's children
  }
  sigaction(SIGCHLD, &both, nullptr);
}

} // namespace

NoSigpipe::NoSigpipe() noexcept {
  sigset_t pipe, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigemptyset(&pending);
  sigpending(&pending);
  pending_ = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe, &before_);
}

NoSigpipe::~NoSigpipe() {
  const int saved = errno;
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  const timespec now{0, 0};
  while (!pending_ && sigtimedwait(&pipe, nullptr, &now) < 0 && errno == EINTR) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  errno = saved;
}

// In a forked process, another thread of its parent may have held the lock. Its connections are its parent's.
Call::Call() noexcept : refusal_(forked_message) {
  if (is_forked()) return;
  Gate& g = gate();
  std::lock_guard<std::mutex> lock(g.mutex);
  refusal_ = exiting_message;
  if (g.closing) return;
  ++g.inside;
  refusal_ = nullptr;
}

Call::~Call() {
  if (refusal_ || is_forked()) return;
  runtime_after_call();
  Gate& g = gate();
  std::lock_guard<std::mutex> lock(g.mutex);
  if (--g.inside == 0) g.left.notify_all();
}

void runtime_after_call() noexcept {
  if (libraries_seen != libraries_loaded()) register_at_exit();
}

void runtime_start(rust::Str location) {
  static std::once_flag once;
  std::call_once(once, [&] {
    logging_start(); // first: without a destination ARC's messages are lost
    // Init takes the path of a program and drops the last two components.
    Arc::ArcLocation::Init(std::string(location) + "/bin/arcproxy");
    // ARC would notice a missing helper only when it starts it, and print that to the program's stderr.
    const std::string helper = Arc::ArcLocation::GetLibDir() + "/arc-hostname-resolver";
    if (access(helper.c_str(), X_OK) != 0)
      throw std::runtime_error("ARC is not installed: " + helper + " is missing or not executable");
    owner = getpid();
    // ARC's threads log until the process ends: the objects that the first message creates must outlive at_exit.
    Arc::Logger::getRootLogger().msg(Arc::DEBUG, "ARC is initialised");
    register_at_exit(); // exit waits for this call from here on
    load_plugins();
    // Keeps OpenSSL from freeing its memory at exit while other threads use it.
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
    // Both create static objects when they are first used, which must outlive at_exit too.
    Arc::Credential();
    Arc::InitVOMSAttribute();
    share_sigchld();
    register_at_exit();
  });
}

void runtime_throw(std::uint8_t kind) {
  switch (kind) {
  case 0: Glib::file_get_contents("/nonexistent/file/for/a/Glib::Exception"); break;
  case 1: throw std::string("a std::string");
  case 2: throw 42;
  default: throw std::runtime_error("a std::exception");
  }
}

} // namespace jasmin_arc
