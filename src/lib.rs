//! Orlop, a low-level container runtime: `create`, `start`, `state`, `kill`, `delete`, `run` and
//! the other verbs of `runc`.
//!
//! This page describes the architecture: which processes there are, which folder belongs to which
//! process, which module may use which, and the terms. To see how a container is made, read these
//! files in this order: [`commands::create`], [`plan`], [`runtime::spawn`], [`bootstrap`],
//! [`init`], `init/handover.rs`, [`commands::start`].
//!
//! # Three rules
//!
//! 1. **First decide, then order, then do.** [`plan`] decides and changes nothing: (config.json,
//!    flags, [`host`]) → [`plan::Plan`]. Files of [`commands`], [`bootstrap`] and [`init`] call the
//!    steps in order. Every other file does one thing.
//! 2. **A folder belongs to one process**, see below. All processes share [`plan`], [`sync`],
//!    [`hooks`] and [`sys`].
//! 3. **A config key has one file that decides it**, in `plan/`, and one that carries it out. The
//!    first lines of both name the key: `git grep 'config.json:.*maskedPaths'`.
//!    `tests/field_map.rs` checks this against the schema of the specification.
//!
//! # The processes
//!
//! ```text
//!  runtime                      bootstrap                     init
//!  commands/ runtime/           bootstrap.rs                  init/
//!  container/ cgroup/ resctrl   (only if needed, see
//!  criu/                        CloneMethod)
//!  ───────────────────────────  ────────────────────────────  ──────────────────────────────────
//!  plan: refuse what cannot be done
//!  reserve the directory
//!  make the cgroup (and resctrl
//!  groups), limit its memory
//!  clone3 ───────────────────▶  join, make a time namespace
//!                               clone3, as our sibling ────▶  (or: from the runtime's clone3)
//!                               Forked(pid), exit             wait
//!  write the id mappings
//!  Begin ──────────────────────────────────────────────────▶  join, keyring, loopback
//!                                                             rootfs::build: mounts, devices
//!  set resources          ◀──────────────────────────── Built
//!  prestart, createRuntime hooks
//!  Continue, if init waits ────────────────────────────────▶  createContainer hooks
//!                                                             hostname, sysctl
//!  to the console         ◀───────────────────────── Terminal  (if the program has a terminal)
//!                                                             rootfs::protect: masked, read-only
//!                                                             rootfs::enter: pivot_root
//!  set rlimits            ◀─────────────────────────── Limits  (only in a user namespace)
//!  LimitsSet ──────────────────────────────────────────────▶  become the user, find the program
//!                         ◀──────────────────────────── Ready
//!  state.json = created
//!  Saved, `create` ends ───────────────────────────────────▶  wait at the gate
//!
//!  `start`: Start ──────────────── gate ───────────────────▶  startContainer hooks, filter, execve
//!  poststart hooks        ◀─────────── end of the wire: the program runs
//! ```
//!
//! `run` does both in one process and needs no gate. Children are forked and not executed again:
//! they read the parent's [`plan::Plan`] from their copy of its memory, and nothing is serialised.
//! This is sound because [`sys::clone::clone`] takes a proof that there is only one thread. Two
//! enums and two types of socket ends ([`sync`]) define all messages between the processes.
//!
//! # The layers
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | [`cli`] | the command line: flags, and the only printing | `commands`, `host`, `log` |
//! | [`commands`] | a file for each verb: requests, flow, results; the interface for other programs | `runtime`, `container`, `criu`, `cgroup`, `resctrl`, `plan`, `hooks`, `host`, `log`, `preflight`, `sync`, `state` |
//! | [`runtime`] | the parent's half of making a process | `bootstrap`, `init`, `criu`, `cgroup`, `plan`, `sync` |
//! | [`preflight`] | for `check`: finds without any change what `create` would fail on later | `runtime`, `init`, `cgroup`, `plan` |
//! | [`bootstrap`] | the process between the runtime and init | `init`, `plan`, `sync` |
//! | [`init`] | the code that runs after the last clone | `plan`, `sync`, `hooks`, `state` |
//! | [`container`] | the container on disk: its directory, state.json, the gate | `config`, `sync`, `state` |
//! | [`criu`] | the protocol of criu, which checkpoints and restores | `plan`, `sync` |
//! | [`cgroup`] | everything that uses /sys/fs/cgroup | `plan` |
//! | [`resctrl`] | everything that uses /sys/fs/resctrl | `plan` |
//! | [`hooks`] | runs the hooks | `plan`, `config` |
//! | [`plan`] | turns what is configured into what will be done | `config`, `seccomp`, `host`, `state` |
//! | [`seccomp`] | compiles a profile to a BPF program | |
//! | [`config`] | config.json, parsed; decides nothing | |
//! | [`host`] | facts about the machine | |
//! | [`state`] | the state as the specification defines it | |
//! | [`sync`] | the messages between the processes | |
//! | [`log`] | log lines in runc's format | |
//! | [`error`] | the errors that a caller can tell apart | |
//! | [`sys`] | system calls; the only `unsafe` | |
//! | [`kernel`] | types of the kernel's interface: plain data | |
//!
//! All modules but `plan`, `seccomp`, `config` and `state` may use [`sys`]; all that can fail may
//! use [`error`], and every module may use [`kernel`]. `tests/layers.rs` checks the table, and
//! lists its exceptions with their reasons.
//!
//! # Errors
//!
//! `sys/` names the call that failed. The layers above it add what they were doing.
//! [`error::Failure`] marks the cases that a caller may branch on. An error that we have advice on
//! carries an [`error::Cause`] from the place where it is made. Only [`cli`] prints an error, once;
//! no other code logs it. What `create`, `run` and `restore` have made is one value,
//! `commands/creation.rs`: its `Drop` undoes all of it unless its `keep` was called.
//!
//! # What is different from other runtimes, and why
//!
//! * **The gate is a socket**; other runtimes have a fifo between `create` and `start`. Init has
//!   the socket from its start and needs no path, `start` cannot hang, and it gets an answer
//!   ([`container::gate`]).
//! * **How init is made is one decision**: [`plan::namespaces::CloneMethod`] is
//!   `Direct`, one clone3 into the cgroup and all new namespaces, or `ViaBootstrap`. A table in a
//!   test says which config gets which.
//! * **`exec` makes its process inside the container.** The process has nothing of the host, not
//!   even our environment. The bootstrap enters the container first and cannot be traced, because
//!   the container's processes may be allowed to trace all processes that they see
//!   ([`bootstrap::main_of_exec`]).
//! * **Our binary is protected from the container (CVE-2019-5736), usually without a copy.** It is
//!   executed again from a read-only overlay that belongs to no mount namespace; if no overlay can
//!   be made, from a copy in memory. On x86-64 and aarch64, this usually happens before the C
//!   library starts ([`sys::self_exe`]).
//! * **The seccomp filter is loaded last**, right before execve of the program and of each
//!   startContainer hook, so a profile need allow none of our system calls except execve
//!   (`init/handover.rs`). A filter that allows all our calls and notifies an agent is loaded at
//!   `create`, because agents wait for it there ([`plan::Plan::why_listener_waits`]). A filter that
//!   notifies an agent may do so for any call; a second thread without the filter then sends the
//!   listener while the first makes no call ([`sys::seccomp::load_with_listener`]).
//! * **Masked and read-only paths are made before pivot_root**, not after it. The rootfs is a file
//!   descriptor until the last step, and no path lookup in it can reach the host (`init/rootfs/`).
//! * **Mounts are made detached** and have all their attributes before any process can see them
//!   ([`sys::mount`]).
//! * **Every wait has a bound**, or a reason why it needs none ([`sys::wait`]).
//! * **The seccomp compiler is our own**, and tests compare it with libseccomp. It takes tens of
//!   microseconds in a `create`; libseccomp takes milliseconds ([`seccomp`]).
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | bundle | a directory with config.json and a rootfs |
//! | config | the parsed config.json; "specification" is the document of the OCI |
//! | container | has an id and a directory in the state root |
//! | state root | the directory of `--root` |
//! | runtime | the process that the user started; "runtime namespaces" are its namespaces |
//! | bootstrap | the process between the runtime and init |
//! | init | the container's first process, also our code in it before execve |
//! | program | the executable that `process.args` names |
//! | plan | the checked form of config, flags and host |
//! | host | facts about the machine |
//! | rootfs | the container's `/`; it is *built*, *protected* and *entered* |
//! | namespace | is *created* or *joined* |
//! | id mappings | of a user namespace |
//! | cgroup, resources | the directory in /sys/fs/cgroup; the limits in it |
//! | hook | one of the six kinds of the specification |
//! | state file | state.json: all that is saved about a container |
//! | state | the JSON that `state` prints and hooks read |
//! | status | `creating`, `created`, `running`, `paused` or `stopped` |
//! | wire | the socket pair between the runtime and a process that it makes |
//! | gate | the socket where init waits for `start` |
//! | images | the files in which criu saves a container's processes |
//! | preserved descriptors | open files of the caller that the program gets at the same numbers |
//! | notify socket | where the program says that it is ready; passed on to `NOTIFY_SOCKET` |
//! | terminal, console | what the program reads and writes; the receiver of its master |
//! | listener | the descriptor by which a seccomp agent answers system calls |
//! | `Failure`, `Call` | a typed error; a system call that failed |

/// The commit from which this was built, as `git describe` prints it. Empty if it is not known.
pub const COMMIT: &str = env!("ORLOP_COMMIT");

pub mod bootstrap;
pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod container;
pub mod criu;
pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod hooks;
pub mod host;
pub mod init;
pub mod kernel;
pub mod log;
pub mod plan;
pub mod preflight;
pub mod resctrl;
pub mod runtime;
pub mod seccomp;
pub mod state;
pub mod sync;
pub mod sys;
