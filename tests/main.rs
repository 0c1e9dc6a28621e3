//! Behaviour tests: what the runtime under test does, seen from outside, config key by config key
//! and verb by verb.
//!
//! ```sh
//! cargo test                         # the program of this package
//! RUNTIME=runc cargo test            # any other one, by path or name
//! cargo test -- mounts:: hooks::     # some of it
//! ```
//!
//! They are one binary, with one file per verb and per config object. A test makes a
//! [`support::Bundle`] (a busybox rootfs and a default configuration), changes the configuration by
//! JSON pointer, runs it and looks at the outcome:
//!
//! ```ignore
//! let out = Bundle::busybox().set("/hostname", "box").run(["hostname"]);
//! assert_eq!(out.stdout, "box\n");
//! ```
//!
//! Every bundle has an id and a state root of its own, so the tests run side by side; what a failed
//! test leaves is removed when its bundle is dropped. Every call has a time limit.
//!
//! **runc is the proof of the tests**: all of them must pass on it, except where Orlop differs on
//! purpose or runc is too old. Those tests begin with `differs!()` and stand with their reason in
//! `support/differences`, and nowhere else.
//!
//! Those of `systemd` need a machine that was booted with it, and say so where they are skipped.
//!
//! The tests need root, a static busybox, util-linux, iproute2, and cgroups: pure v2, or v1 with v2
//! beside it. On the latter the v2 tests see a private view of the machine in which nothing but v2
//! is mounted, and which therefore lacks the controllers that v1 holds.
//!
//! | Variable | Meaning |
//! |---|---|
//! | `RUNTIME` | the runtime under test |
//! | `BUSYBOX` | a static busybox, if the one in `PATH` is not |
//! | `ORLOP_LOOP` | how many containers `leaks` runs (100) |
//! | `ORLOP_SEEDS` | a directory that gets every config.json, for `fuzz/seeds.sh` |
//! | `ORLOP_MANY` | how many containers `many` has at once (60) |
//! | `ORLOP_TIME_LIMIT` | seconds one call may take (30) |
//! | `ORLOP_SOAK` | all points, all rounds, all the time that races need (`make soak`) |
//! | `RUN_DIFFERENCES` | do not skip the listed differences on runc |
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on should panic, works on trusted paths, and says why it was skipped"
)]

#[macro_use]
mod support;

mod annotations;
mod attack_births;
mod attack_descriptors;
mod attack_exec;
mod attack_joins;
mod attack_names;
mod attack_races;
mod attack_seal;
mod attack_size;
mod attack_symlinks;
mod bad_input;
mod births;
mod capabilities;
mod cgroup;
mod cgroup_devices;
mod cgroup_manager;
mod check;
mod checkpoint;
mod checkpoint_flags;
mod checkpoint_mounts;
mod checkpoint_refused;
mod cli;
mod concurrency;
mod create;
mod delegated_cgroup;
mod delete;
mod dependencies;
mod devices;
mod events;
mod exec;
mod exec_cgroup;
mod exec_process;
mod faults;
mod features;
mod field_map;
mod flags;
mod frozen;
mod hook_failures;
mod hook_filter;
mod hooks;
mod hostname;
mod hung;
mod idmapped_mounts;
mod image;
mod intel_rdt;
mod kill;
mod killed;
mod labels;
mod layers;
mod leaks;
mod limit_values;
mod limits;
mod list;
mod logging;
mod manual;
mod many;
mod masked_paths;
mod memory_policy;
mod mount_destinations;
mod mount_links;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod net_devices_restored;
mod notify_socket;
mod openmetrics;
mod pages;
mod pause;
mod personality;
mod pidfd_socket;
mod preserve_fds;
mod process;
mod ps;
mod rlimits;
mod root;
mod rootless;
mod rootless_births;
mod rootless_cgroup;
mod run;
mod running_mounts;
mod scheduling;
mod seccomp;
mod seccomp_moment;
mod seccomp_notify;
mod security;
mod security_rows;
mod soak;
mod spec;
mod spec_judge;
mod spec_rows;
mod start;
mod state;
mod state_root;
mod sysctl;
mod systemd;
mod systemd_limits;
mod terminal;
mod terminal_foreground;
mod terminal_names;
mod update;
mod user;
mod user_namespace;
mod versions;
