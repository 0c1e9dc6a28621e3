//! `start`: listens on the socket, forks the daemon, prints the address. If the group of the
//! container has a daemon, it prints the address of that daemon.
//! process: start

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use orlop::sys::clone::{self, CloneRequest, SingleThreaded};
use orlop::sys::{fd, self_exe};
use prost::Message;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{CoreSchedulingScope, create_core_scheduling_cookie};

use crate::daemon::{Daemon, Settings};
use crate::flags::Flags;
use crate::messages::Any;
use crate::options::{self, Options};
use crate::socket::{self, Taken};
use crate::status::Failed;
use crate::{info, shim_log};

/// The file of the bundle with the daemon's address.
pub const ADDRESS_FILE: &str = "address";
/// The link in the bundle to the directory of the socket, if that is not the default one.
const DIRECTORY_LINK: &str = "s";
/// The limit on bytes that are read from standard input.
const MOST: u64 = 10 << 20;
/// Containers with the same value of one of these annotations have one daemon. The first annotation
/// that is present is used.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// containerd.runtime.bootstrap.v1.BootstrapParams, which containerd writes from 2.3 on.
#[derive(Clone, PartialEq, Eq, Message)]
struct BootstrapParams {
    #[prost(string, tag = "1")]
    instance_id: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(int32, tag = "3")]
    log_level: i32,
    #[prost(string, tag = "5")]
    ttrpc_address: String,
    #[prost(string, tag = "6")]
    grpc_address: String,
    #[prost(message, repeated, tag = "8")]
    extensions: Vec<Extension>,
    #[prost(string, optional, tag = "9")]
    socket_dir: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Extension {
    #[prost(message, optional, tag = "1")]
    value: Option<Any>,
}

/// containerd.runtime.bootstrap.v1.BootstrapResult.
#[derive(Clone, PartialEq, Eq, Message)]
struct BootstrapResult {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(string, tag = "2")]
    address: String,
    #[prost(string, tag = "3")]
    protocol: String,
}

/// The log level for debug lines (`LOG_LEVEL_DEBUG`).
const DEBUG: i32 = -4;

/// The content of standard input, in either form.
#[derive(Debug, Default)]
struct Input {
    options: Options,
    /// The newer form, which needs an answer in another form.
    bootstrap: Option<BootstrapParams>,
}

/// Carries out `start` and returns the output. In the daemon it returns when the daemon ends,
/// without output.
///
/// # Errors
/// The error of the failed step. Then there is no daemon, and all steps are undone.
pub fn start(flags: &Flags) -> Result<Vec<u8>, Failed> {
    flags.need_container()?;
    self_exe::seal().map_err(|call| {
        Failed::unknown(format!("keeping our own binary out of containers' reach: {call}"))
    })?;
    let input = read_input(flags)?;
    input.options.refuse_other_runtimes()?;
    let group = group(&flags.id)?;
    let bootstrap = input.bootstrap.as_ref();
    let directory =
        bootstrap.and_then(|params| params.socket_dir.as_deref()).filter(|dir| !dir.is_empty());
    let address = match bootstrap {
        Some(params) if !params.grpc_address.is_empty() => &params.grpc_address,
        _ => &flags.address,
    };
    let path =
        socket::path(directory.unwrap_or(socket::DIRECTORY), address, &flags.namespace, &group)?;
    if let Some(directory) = directory {
        let _ = rustix::fs::unlink(DIRECTORY_LINK);
        rustix::fs::symlink(directory, DIRECTORY_LINK)
            .map_err(|errno| Failed::unknown(format!("symlink({DIRECTORY_LINK:?}): {errno}")))?;
    }
    let taken = socket::take(&path)?;
    let made = options::replace(Path::new("."), ADDRESS_FILE, format!("unix://{path}").as_bytes())
        .map_err(|error| Failed::unknown(format!("writing the address: {error}")));
    if let Taken::Ours(listener) = taken {
        let settings = Settings {
            namespace: flags.namespace.clone(),
            socket: path.clone(),
            events: events_address(flags, bootstrap),
            debug: flags.debug || bootstrap.is_some_and(|params| params.log_level <= DEBUG),
        };
        let forked = made.and_then(|()| fork(&settings, &flags.id, &input.options, listener));
        forked.inspect_err(|_| {
            let _ = rustix::fs::unlink(ADDRESS_FILE);
            let _ = rustix::fs::unlink(&*path);
        })?;
    }
    let address = format!("unix://{path}");
    let result =
        BootstrapResult { version: 3, address: address.clone(), protocol: "ttrpc".to_owned() };
    Ok(if bootstrap.is_some() { result.encode_to_vec() } else { address.into_bytes() })
}

fn read_input(flags: &Flags) -> Result<Input, Failed> {
    let stdin = rustix::stdio::stdin();
    if rustix::termios::isatty(stdin) {
        return Ok(Input::default());
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MOST)
        .read_to_end(&mut bytes)
        .map_err(|error| Failed::unknown(format!("reading standard input: {error}")))?;
    if let Ok(params) = BootstrapParams::decode(&*bytes)
        && params.instance_id == flags.id
        && params.namespace == flags.namespace
    {
        // Only options are used among the extensions.
        let found = params.extensions.iter().filter_map(|extension| extension.value.as_ref());
        let found = found.map(|any| Options::read(Some(any))).find_map(Result::ok);
        return Ok(Input { options: found.unwrap_or_default(), bootstrap: Some(params) });
    }
    let any = Any::decode(&*bytes)
        .map_err(|error| Failed::invalid(format!("the options (standard input): {error}")))?;
    Ok(Input { options: Options::read(Some(&any))?, bootstrap: None })
}

/// The group of the container, which has one daemon.
fn group(id: &str) -> Result<String, Failed> {
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    let text = std::fs::read("config.json").map_err(|error| {
        Failed::not_found(format!("open(\"config.json\") in the bundle: {error}"))
    })?;
    let config: Config = serde_json::from_slice(&text)
        .map_err(|error| Failed::invalid(format!("config.json: {error}")))?;
    let group = GROUPS.iter().find_map(|name| config.annotations.get(*name));
    Ok(group.map_or(id, String::as_str).to_owned())
}

/// The address for events: from standard input, from the environment, or derived from containerd's
/// other address.
fn events_address(flags: &Flags, bootstrap: Option<&BootstrapParams>) -> String {
    let told =
        bootstrap.map(|params| params.ttrpc_address.clone()).filter(|address| !address.is_empty());
    let environment = || std::env::var("TTRPC_ADDRESS").ok().filter(|address| !address.is_empty());
    let beside = || (!flags.address.is_empty()).then(|| format!("{}.ttrpc", flags.address));
    told.or_else(environment).or_else(beside).unwrap_or_default()
}

fn fork(settings: &Settings, id: &str, options: &Options, listener: OwnedFd) -> Result<(), Failed> {
    let failed = |call: orlop::sys::Call| Failed::unknown(format!("making the daemon: {call}"));
    let score = oom_score();
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        // No other processes share a core with the daemon and its children, which inherit this
        // cookie.
        create_core_scheduling_cookie(rustix::process::getpid(), CoreSchedulingScope::ThreadGroup)
            .map_err(|errno| {
                Failed::unknown(format!("SCHED_CORE: prctl(PR_SCHED_CORE): {errno}"))
            })?;
    }
    let alone = SingleThreaded::prove().map_err(failed)?;
    let cloned = clone::clone(alone, &CloneRequest::default(), || {
        match daemon(settings, id, score, listener) {
            Ok(()) => 0,
            Err(error) => {
                log::error!("{error:#}");
                1
            }
        }
    })
    .map_err(failed)?;
    let moved = if options.shim_cgroup.is_empty() {
        Ok(())
    } else {
        move_to(&options.shim_cgroup, cloned.pid)
    };
    moved.inspect_err(|_| drop(orlop::sys::pidfd::kill(cloned.pidfd.as_fd())))
}

/// The OOM score adjustment of containerd, our parent, plus one, so that the daemon is killed
/// first.
fn oom_score() -> Option<i32> {
    let parent = rustix::process::getppid()?;
    let text =
        std::fs::read_to_string(format!("/proc/{}/oom_score_adj", parent.as_raw_nonzero())).ok()?;
    text.trim().parse::<i32>().ok().map(|score| (score + 1).min(1000))
}

/// Moves the daemon to the cgroup in the options.
fn move_to(cgroup: &str, pid: i32) -> Result<(), Failed> {
    let cgroup = cgroup.trim_start_matches('/');
    let mut roots = vec![Path::new("/sys/fs/cgroup").to_owned()];
    if let Err(error) = std::fs::metadata("/sys/fs/cgroup/cgroup.controllers") {
        let hierarchies =
            std::fs::read_dir("/sys/fs/cgroup").map_err(|_| Failed::unknown(error.to_string()))?;
        roots = hierarchies.flatten().map(|entry| entry.path()).collect();
    }
    let mut found = false;
    for root in roots {
        let file = root.join(cgroup).join("cgroup.procs");
        let opened = rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let Ok(opened) = opened else { continue };
        rustix::io::write(&opened, pid.to_string().as_bytes())
            .map_err(|errno| Failed::unknown(format!("ShimCgroup: write({file:?}): {errno}")))?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err(Failed::not_found(format!("ShimCgroup: there is no cgroup {cgroup:?}")))
    }
}

/// Runs the daemon, in a session of its own, without descriptors that it does not need.
fn daemon(
    settings: &Settings,
    id: &str,
    score: Option<i32>,
    listener: OwnedFd,
) -> anyhow::Result<()> {
    rustix::process::setsid()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..3 {
        fd::become_standard(null.as_fd(), number)?;
    }
    drop(null);
    fd::close_copies_but(3, &[], listener.as_fd())?;
    shim_log::install(id, settings.debug);
    if let Some(score) = score {
        let file = rustix::fs::open(
            "/proc/self/oom_score_adj",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if let Err(errno) = rustix::io::write(&file, score.to_string().as_bytes()) {
            log::warn!("write(oom_score_adj, {score}): {errno}");
        }
    }
    log::debug!("{} listens on descriptor {}", info::NAME, listener.as_raw_fd());
    Daemon::new(settings.clone(), listener)?.run()
}
