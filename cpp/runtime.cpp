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

#include <dlfcn.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glibmm.h>
#include <openssl/crypto.h>

#include <arc/ArcLocation.h>
#include <arc/DateTime.h>
#include <arc/HostnameResolver.h>
#include <arc/Logger.h>
#include <arc/Run.h>
#include <arc/credential/Credential.h>
#include <arc/credential/VOMSUtil.h>

#include "logging.h"

namespace jasmin_arc {

namespace {

// --- the gate: calls in flight -----------------------------------------------------------------------------------

// How long exit waits for calls that other threads have in flight.
constexpr std::chrono::seconds exit_patience(5);

struct Gate {
  std::mutex mutex;
  std::condition_variable left;
  unsigned int inside = 0;
  bool closing = false;
};

// Never destroyed: it is used during exit, when static objects are already going.
Gate& gate() {
  static Gate* const instance = new Gate;
  return *instance;
}

std::atomic<bool> closing_flag{false};

// --- exit --------------------------------------------------------------------------------------------------------

// HostnameResolver keeps its helper process private, but its age is what tells a new one from a pooled one.
// Naming a private member in an explicit instantiation is allowed.
template <typename Tag, typename Tag::type Member>
struct Expose {
  friend typename Tag::type expose(Tag) { return Member; }
};
struct ResolverProcess {
  using type = Arc::Run* Arc::HostnameResolver::*;
  friend type expose(ResolverProcess);
};
template struct Expose<ResolverProcess, &Arc::HostnameResolver::hostname_resolver_>;

// ARC pools its arc-hostname-resolver processes in a static object whose destructor waits for a thread that is itself
// blocked on another static object that is gone by then: exit hangs for ever (6.17 and 7.0). So the pool is emptied
// first: take them all and never give them back. One that is younger than the draining means that the pool was empty.
void drain_resolver_pool() {
  const Arc::Time begun;
  for (int n = 0; n < 1000; ++n) {
    Arc::HostnameResolver* resolver = Arc::HostnameResolver::Acquire();
    if (!resolver || !*resolver) return;
    Arc::Run* process = resolver->*expose(ResolverProcess());
    if (!process || process->RunTime() >= begun) return;
  }
}

// Set when a thread did not leave ARC in time: ARC's static objects cannot be destroyed under it.
std::atomic<bool> stuck{false};

// The process that ARC was initialised in. In one forked from it ARC's threads are missing, with locks that they hold.
std::atomic<pid_t> owner{0};

// Refuses calls from now on, and waits for those in flight.
void close_gate() {
  const pid_t in = owner;
  if (in != 0 && in != getpid()) return;
  Gate& g = gate();
  std::unique_lock<std::mutex> lock(g.mutex);
  if (g.closing) return;
  g.closing = true;
  closing_flag = true;
  stuck = !g.left.wait_for(lock, exit_patience, [&g] { return g.inside == 0; });
}

// exit() destroys the objects of its own thread before it runs any handler. So when it is the main thread that exits,
// calls in flight are over before anything that they use can be destroyed, even what they have only just made.
struct MainThread {
  ~MainThread() { close_gate(); }
};

// Runs after the exit handlers of the program and before the destructors of the libraries it was linked with.
void last_resort(int status, void*) {
  if (!stuck) return;
  std::fflush(nullptr);
  _exit(status);
}

// Before main, so before any exit handler of the program, but after the libraries' own initialisation.
__attribute__((constructor)) void watch_main_thread() {
  on_exit(&last_resort, nullptr);
  if (syscall(SYS_gettid) != getpid()) return; // part of a library that another thread has loaded
  static thread_local MainThread watched;
  static_cast<void>(&watched);
}

void at_exit(int, void*) {
  static std::atomic<bool> done{false};
  if (done.exchange(true)) return; // registered more than once
  if (owner != getpid()) {
    stuck = true;
    return;
  }
  close_gate(); // for exit from another thread than main
  logging_stop();
  if (stuck) return; // see last_resort
  try {
    drain_resolver_pool();
  } catch (...) {
  }
}

// Exit handlers and destructors of libraries run in the reverse order of their registration, so this is called again
// whenever there is something new that must outlive the handler.
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

void register_at_exit() {
  libraries_seen = libraries_loaded();
  on_exit(&at_exit, nullptr);
}

// All of ARC's plugins that calls use are loaded at the beginning, and stay. ARC itself loads some of them for each
// connection and unloads them again, and the static objects of a library that came in the middle of a call would be
// destroyed before the exit handler had waited for that call.
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

struct sigaction program_action; // what the program had set before ARC
struct sigaction arc_action;     // what ARC set over it

void call_handler(const struct sigaction& action, int number, siginfo_t* info, void* context) {
  if (action.sa_flags & SA_SIGINFO) {
    if (action.sa_sigaction) action.sa_sigaction(number, info, context);
  } else if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN && action.sa_handler != SIG_ERR) {
    action.sa_handler(number);
  }
}

void on_sigchld(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  // Once the process exits, ARC's thread that watches children must not be woken: it logs, and the logger's parts go.
  if (!closing_flag.load(std::memory_order_relaxed)) call_handler(arc_action, number, info, context);
  call_handler(program_action, number, info, context);
  errno = saved;
}

// ARC's process watcher sets SIGCHLD for itself at its first use and drops what the program had set. So that use is
// forced here, and one handler put in place that calls both.
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
    both.sa_flags |= SA_NOCLDWAIT; // the program wants its children reaped by the kernel
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

Call::Call() noexcept : admitted_(false) {
  Gate& g = gate();
  std::lock_guard<std::mutex> lock(g.mutex);
  if (g.closing) return;
  ++g.inside;
  admitted_ = true;
}

Call::~Call() {
  if (!admitted_) return;
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
    logging_start(); // first, or ARC's complaints go nowhere
    // ARC takes the path of a program and cuts off the last two components.
    Arc::ArcLocation::Init(std::string(location) + "/bin/arcproxy");
    // ARC would find out only when it starts it, and print that on the program's stderr.
    const std::string helper = Arc::ArcLocation::GetLibDir() + "/arc-hostname-resolver";
    if (access(helper.c_str(), X_OK) != 0) throw std::runtime_error("ARC is not installed here: there is no " + helper);
    owner = getpid();
    // What logging makes at its first use is in use as long as there are threads of ARC.
    Arc::Logger::getRootLogger().msg(Arc::DEBUG, "ARC is initialised");
    register_at_exit(); // from here on exit waits for us
    load_plugins();
    // OpenSSL would clean up at exit, whoever is using it.
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
    // These too make objects at their first use that exit destroys.
    Arc::Credential();
    Arc::InitVOMSAttribute();
    share_sigchld();
    register_at_exit();
  });
}

void runtime_throw(std::uint8_t kind) {
  switch (kind) {
  case 0:
    Glib::file_get_contents("/nonexistent/file/for/a/Glib::Exception");
    break;
  case 1:
    throw std::string("a std::string");
  case 2:
    throw 42;
  default:
    throw std::runtime_error("a std::exception");
  }
}

} // namespace jasmin_arc
