//! Orlop, a low-level container runtime: `create`, `start`, `state`, `kill`, `delete`, `run` and the verbs
//! around them.
//!
//! This page is the architecture: which processes there are, which folder belongs to which, who may know whom, and the
//! words that are used. The files to read for how a container comes to be, in this order, never going back:
//! [`commands::create`], [`plan`], [`runtime::spawn`], [`bootstrap`], [`init`], `init/handover.rs`,
//! [`commands::start`].
//!
//! # Three rules
//!
//! 1. **Decide, order, do.** [`plan`] decides, and does nothing: (config.json, flags, [`host`]) → [`plan::Plan`]. Files
//!    of [`commands`], [`bootstrap`] and [`init`] put things in order. Everything else does one thing.
//! 2. **A folder is a process**, see below. What all share: [`plan`], [`sync`], [`hooks`], [`sys`].
//! 3. **A file is a config key.** Each key is decided in one file of `plan/` and carried out elsewhere; the first lines
//!    of both name it: `git grep 'config.json:.*maskedPaths'`. `tests/field_map.rs` holds that against the schema.
//!
//! # The processes
//!
//! ```text
//!  runtime                       bootstrap                        init
//!  commands/ runtime/            bootstrap.rs                     init/
//!  container/ cgroup/ resctrl    (only where a user namespace
//!  criu/                          meets a joined one)
//!  ─────────────────────────      ─────────────────────────────   ────────────────────────────────────────
//!  plan: every "no" is said
//!  reserve the directory
//!  make the cgroup (and groups of resctrl),
//!  limit its memory
//!  clone3 ─────────────────────▶ join, make a time namespace
//!                                clone3, as our sibling ───────▶  (or: straight from the runtime's clone3)
//!                                Forked(pid), exit                wait
//!  write the id maps
//!  Go ─────────────────────────────────────────────────────────▶  join, keyring, loopback
//!                                                                 rootfs::build   mounts, devices
//!  set resources    ◀───────────────────────────────────── Built
//!  prestart, createRuntime hooks
//!  Go, if init waits for them ─────────────────────────────────▶  createContainer hooks, hostname, sysctl
//!  to the console   ◀────────────────────────────────── Terminal  a terminal, if the program has one
//!                                                                 rootfs::seal    masked, read-only
//!                                                                 rootfs::enter   pivot_root: the host is gone
//!  set limits       ◀──────────────────────────────────── Limits  (only from a user namespace; else init does)
//!  Go ─────────────────────────────────────────────────────────▶  become the user, find the program
//!                   ◀───────────────────────────────────── Ready
//!  state.json = created
//!  Go, `create` ends ──────────────────────────────────────────▶  wait at the gate
//!
//!  `start`: Go ────────────────────── gate ────────────────────▶  startContainer hooks, filter, execve
//!           poststart hooks ◀───────── the end of the wire: it is the program
//! ```
//!
//! `run` is both in one process, so it has no gate. Children are forked, not executed anew: they read the parent's
//! [`plan::Plan`] where it is, and nothing is serialised. That is sound because [`sys::clone::clone`] takes a proof
//! that there is one thread. Two enums and two types of ends ([`sync`]) are all that the processes say to each other.
//!
//! # The layers
//!
//! | module | what it is | may know |
//! |---|---|---|
//! | [`cli`] | the command line, and the only printing | `commands`, `host`, `log` |
//! | [`commands`] | a file for each verb: its flags, its flow | `runtime`, `container`, `criu`, `cgroup`, `resctrl`, `plan`, `hooks`, `host`, `log`, `looks`, `sync`, `state` |
//! | [`runtime`] | the parent's half of making a process | `bootstrap`, `init`, `criu`, `cgroup`, `plan`, `sync` |
//! | [`looks`] | what `create` would stumble over later, for `check` | `runtime`, `init`, `cgroup`, `plan` |
//! | [`bootstrap`] | the process in between | `init`, `plan`, `sync` |
//! | [`init`] | what runs after the last clone | `plan`, `sync`, `hooks`, `state` |
//! | [`container`] | the container on disk: its directory, state.json, the gate | `sync`, `state` |
//! | [`criu`] | speaking to criu, which saves and restores | `plan`, `sync` |
//! | [`cgroup`] | whatever touches /sys/fs/cgroup | `plan` |
//! | [`resctrl`] | whatever touches /sys/fs/resctrl | `plan` |
//! | [`hooks`] | running the programs of a moment | `plan`, `spec` |
//! | [`plan`] | from what is written to what is done | `spec`, `seccomp`, `host`, `state` |
//! | [`seccomp`] | a profile → a program of the kernel's | |
//! | [`spec`] | config.json as it is written, nothing decided | |
//! | [`host`] | facts about the machine | |
//! | [`state`] | the state as the specification has it | |
//! | [`sync`] | the wire | |
//! | [`log`] | lines that read as runc's | |
//! | [`error`] | what can go wrong, as a caller may branch on it | |
//! | [`sys`] | the kernel's door, and the only `unsafe` | |
//!
//! All but `plan`, `seccomp`, `spec` and `state` may know [`sys`]; all that can fail, [`error`].
//! `tests/layers.rs` holds the table, and its few exceptions with their reasons.
//!
//! # Errors
//!
//! `sys/` names the failed call, the layers above say what they were doing, [`error::Failure`] marks the cases that a
//! caller branches on. Nobody logs an error on the way; [`cli`] prints it once. What has been made is undone by `Drop`,
//! until `keep` of [`commands::create`] lets go of it: there are no clean-up functions to forget.
//!
//! # What is unlike other runtimes, and why
//!
//! * **A socket for a gate**, where others have a fifo between `create` and `start`: init is born with it and needs no
//!   path, `start` cannot hang, and the answer comes back ([`container::gate`]).
//! * **The shape of the birth is decided, not flagged**: [`plan::namespaces::Birth`] is `Direct`, one clone3 into the
//!   cgroup and all new namespaces, or `ViaBootstrap`; a table test says which config gets which.
//! * **What `exec` makes is born inside**, with nothing of the host's, not even our environment: the bootstrap goes in first,
//!   unseen. The container's processes may be allowed to look at whatever they see ([`bootstrap::main_of_exec`]).
//! * **Our binary is not copied** to keep it from the container (CVE-2019-5736), but executed once more from a
//!   read-only overlay that belongs to no namespace, before the C library starts ([`sys::self_exe`]).
//! * **The system call filter is loaded last**, right before execve, of the program and of each startContainer hook, so a
//!   profile need allow nothing of ours (`init/handover.rs`). One that allows all of ours and notifies an agent is loaded
//!   at `create`, as agents wait for that ([`plan::Plan::why_listener_waits`]). One that notifies an agent may ask about any call: a second thread, without the filter, hands
//!   the listener over while the first waits without a call ([`sys::seccomp::load_with_listener`]).
//! * **Masked and read-only paths are made before pivot_root** and not after: the rootfs is a handle until the last
//!   step, and no look-up in it can reach the host (`init/rootfs/`).
//! * **Mounts are made detached** and have all their attributes before anybody can see them ([`sys::mount`]).
//! * **Whoever waits says for how long**, or why no bound is right: there is no other way to ([`sys::wait`]).
//! * **The filter's compiler is ours** and libseccomp is its judge in tests: tens of microseconds instead of
//!   milliseconds in every `create` ([`seccomp`]).
//!
//! # The words
//!
//! | word | meaning |
//! |---|---|
//! | bundle | a directory with config.json and a rootfs |
//! | config | the parsed config.json ("spec" is the document of the OCI only) |
//! | container | what has an id and a directory below the state root |
//! | runtime | the process that the user started; its namespaces |
//! | bootstrap | the process in between |
//! | init | the container's first process, also its code before execve |
//! | program | what `process.args` names |
//! | plan | the decided, checked form of config, flags and host |
//! | host | facts about the machine |
//! | rootfs | the container's `/`, which is *built*, *sealed* and *entered* |
//! | namespace | is *created* or *joined* |
//! | cgroup, resources | the directory; the limits in it |
//! | hook | with the six names of the specification |
//! | state, status | state.json; `creating`, `created`, `running`, `paused` or `stopped` |
//! | gate | where init waits for `start` |
//! | images | what criu has saved of a container's processes |
//! | preserved | of descriptors: left open by the caller for the program, which has them at the same numbers |
//! | notify socket | where the program says that it is ready; what it says goes on to `NOTIFY_SOCKET` |
//! | id mappings | of a user namespace |
//! | state root | `--root` |
//! | terminal, console | what the program reads and writes on; who gets its other side, the master |
//! | listener | the process that a seccomp filter asks |
//! | Failure, Call | a typed error; a system call that failed |

pub mod bootstrap;
pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod container;
pub mod criu;
pub mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod hooks;
pub mod host;
pub mod init;
pub mod log;
pub mod looks;
pub mod plan;
pub mod resctrl;
pub mod runtime;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sync;
pub mod sys;
