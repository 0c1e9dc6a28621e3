//! The program of `exec`: the `process` of the config of the container, changed by flags, or
//! another one.
//! config.json: process
//!
//! The config is the copy that `create` has made, so later changes of the bundle have no effect.
//! The same code as in `create` makes the decisions ([`super::process`]).

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use super::capabilities::SYS_ADMIN;
use super::form::parse_part;
use super::namespaces::{CloneMethod, PID, TIME, USER};
use super::{
    EntryPlan, Host, Problems, annotations, id_mappings, namespaces, parse, process, seccomp,
    terminal,
};
use crate::config::{self, Text};
use crate::error::{Failure, Problem, Result};

/// The request of the command line.
#[derive(Debug, Default)]
pub struct ExecRequest<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The name of the container's session keyring, if it has one of its own.
    pub keyring: Option<&'a str>,
    /// Whether it has a time namespace that its config does not have, because it was restored.
    pub own_time: bool,
    /// `--process`: another `process`, as JSON.
    pub process: Option<&'a [u8]>,
    /// The program and its arguments, if there is no `--process`.
    pub program: &'a [OsString],
    /// `--cwd`; empty for the default, as in runc.
    pub cwd: &'a str,
    /// `--env`: added to those of the config.
    pub env: &'a [String],
    /// `--user`.
    pub user: Option<&'a str>,
    /// `--additional-gids`: added to those of the config.
    pub additional_gids: &'a [String],
    /// `--cap`: added to those of the config.
    pub capabilities: &'a [String],
    /// `--no-new-privs`.
    pub no_new_privileges: Option<bool>,
    /// `--apparmor`; empty for none.
    pub apparmor_profile: &'a str,
    /// `--process-label`; empty for none.
    pub selinux_label: &'a str,
    /// The numbers of the descriptors after stdio that the program keeps, ascending.
    pub preserved_fds: &'a [u32],
    /// `--tty`.
    pub tty: bool,
    /// Other flags for the terminal.
    pub terminal: terminal::TerminalRequest<'a>,
}

/// The decision.
#[derive(Debug)]
pub struct ExecPlan {
    /// The container's id, and how the program begins.
    pub entry: EntryPlan,
    /// The namespaces that are the container's own: `CLONE_NEW…` flags.
    pub own: u32,
    /// How the process is made.
    pub clone_method: CloneMethod,
    /// Whether the runtime stays dumpable. An ordinary user's runtime must, because it writes to
    /// files of its children in /proc.
    pub dumpable: bool,
    /// Warnings.
    pub warnings: Vec<Problem>,
}

impl ExecPlan {
    /// Decides; `text` is the container's config.json.
    ///
    /// # Errors
    /// [`Failure::BadConfig`], [`Failure::Usage`] for the first thing that cannot be honoured.
    pub fn decide<'a>(text: &'a [u8], changes: &ExecRequest<'a>, host: &Host) -> Result<Self> {
        let mut config = parse(text)?;
        annotations::fill_in(&mut config);
        let own = config.process.take().unwrap_or_default();
        let process = match changes.process {
            Some(text) => fill_in(parse_process(text)?, own),
            None => config::Process { terminal: false, args: Vec::new(), ..own },
        };
        config.process = Some(change(process, changes)?);
        let mut problems = Problems::default();
        let namespaces = namespaces::decide(&config, host, &mut problems);
        let time = if changes.own_time { TIME.flag } else { 0 };
        let own = namespaces.own().fold(time, |flags, kind| flags | kind.flag);
        let entry = EntryPlan {
            id: changes.id.to_owned(),
            keyring: changes.keyring.map(str::to_owned),
            process: process::decide(&config, &namespaces, host, &mut problems),
            terminal: terminal::decide(config.process.as_ref(), changes.terminal, &mut problems),
            seccomp: seccomp::decide(config.linux.seccomp.as_ref(), &mut problems),
            early_filter: false,
            ids: id_mappings::decide(&config.linux, &namespaces, &mut problems),
            preserved_fds: changes.preserved_fds.to_vec(),
            keeps_rights: own & USER.flag == 0,
        };
        let mut plan = Self {
            entry,
            own,
            clone_method: clone_method(own, host),
            dumpable: host.euid != 0,
            warnings: problems.warnings().to_vec(),
        };
        problems.into_result()?;
        if changes.process.is_none() {
            // Not from JSON, since arguments need not be UTF-8.
            plan.entry.process.args = changes
                .program
                .iter()
                .map(|arg| CString::new(arg.as_bytes()))
                .collect::<Result<_, _>>()?;
        }
        Ok(plan)
    }
}

/// Decides how the process is created: directly, except in two cases.
///
/// * A process of the container could trace ours before ours is fully inside. Ours is not dumpable,
///   so this needs CAP_SYS_PTRACE in our user namespace.
/// * The runtime lacks the privileges to join a pid or time namespace and to return.
fn clone_method(own: u32, host: &Host) -> CloneMethod {
    let cannot_return = host.capabilities & SYS_ADMIN == 0 || host.rootless;
    let joins_pid_or_time = own & (PID.flag | TIME.flag) != 0;
    let can_be_traced = own & PID.flag != 0 && own & USER.flag == 0;
    if can_be_traced || joins_pid_or_time && cannot_return {
        CloneMethod::ViaBootstrap
    } else {
        CloneMethod::Direct
    }
}

fn parse_process(text: &[u8]) -> Result<config::Process<'_>> {
    parse_part(text, "/process")
}

/// Adds values of the container that `--process` does not have, as in runc. Limits are not added: a
/// `--process` without limits can mean that there are none.
fn fill_in<'a>(process: config::Process<'a>, own: config::Process<'a>) -> config::Process<'a> {
    let text = |given: Text<'a>, own: Text<'a>| if given.is_empty() { own } else { given };
    config::Process {
        user: config::User { umask: process.user.umask.or(own.user.umask), ..process.user },
        capabilities: process.capabilities.or(own.capabilities),
        apparmor_profile: text(process.apparmor_profile, own.apparmor_profile),
        selinux_label: text(process.selinux_label, own.selinux_label),
        oom_score_adj: process.oom_score_adj.or(own.oom_score_adj),
        scheduler: process.scheduler.or(own.scheduler),
        io_priority: process.io_priority.or(own.io_priority),
        exec_cpu_affinity: process.exec_cpu_affinity.or(own.exec_cpu_affinity),
        ..process
    }
}

/// Applies the flags.
fn change<'a>(
    mut process: config::Process<'a>,
    changes: &ExecRequest<'a>,
) -> Result<config::Process<'a>> {
    match (changes.process.is_some(), changes.program) {
        (false, []) => return Err(usage("exec args cannot be empty")),
        (true, [_, ..]) => {
            return Err(usage("the program is given twice: by --process and on the command line"));
        }
        // Only the number of arguments matters here.
        (_, program) => process.args.extend(program.iter().map(|_| Text::from("program"))),
    }
    if !changes.cwd.is_empty() {
        process.cwd = Text::from(changes.cwd);
    }
    if let Some(entry) = changes.env.iter().find(|entry| entry.find('=').unwrap_or(0) == 0) {
        return Err(usage(format!(
            "invalid environment variable: {entry:?} (--env wants NAME=VALUE)"
        )));
    }
    process.env.extend(changes.env.iter().map(|entry| Text::from(entry.as_str())));
    if let Some(user) = changes.user {
        let (uid, gid) = user.split_once(':').map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        process.user.uid = id("uid", uid)?;
        if let Some(gid) = gid {
            process.user.gid = id("gid", gid)?;
        }
    }
    for gid in changes.additional_gids {
        process.user.additional_gids.push(id("additional gid", gid)?);
    }
    if !changes.capabilities.is_empty() {
        add_capabilities(process.capabilities.get_or_insert_default(), changes.capabilities);
    }
    process.terminal |= changes.tty;
    process.no_new_privileges = changes.no_new_privileges.unwrap_or(process.no_new_privileges);
    if !changes.apparmor_profile.is_empty() {
        process.apparmor_profile = Text::from(changes.apparmor_profile);
    }
    if !changes.selinux_label.is_empty() {
        process.selinux_label = Text::from(changes.selinux_label);
    }
    Ok(process)
}

/// Adds capabilities, but never to the inheritable set (CVE-2022-29162). To the ambient set it adds
/// only those that are inheritable in the config, since others cannot be ambient.
fn add_capabilities<'a>(sets: &mut config::Capabilities<'a>, names: &'a [String]) {
    let names = || names.iter().map(|name| Text::from(name.as_str()));
    sets.bounding.extend(names());
    sets.effective.extend(names());
    sets.permitted.extend(names());
    sets.ambient.extend(names().filter(|name| sets.inheritable.contains(name)));
}

/// Parses a number and nothing else. Otherwise an invalid text could be read as the uid of root
/// (CVE-2026-30892).
fn id(what: &str, text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && *id != u32::MAX);
    id.ok_or_else(|| {
        usage(format!("bad {what} {text:?}: it must be a number from 0 to {}", u32::MAX - 1))
    })
}

fn usage(text: impl Into<String>) -> anyhow::Error {
    Failure::Usage(text.into()).into()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{ExecPlan, ExecRequest};
    use crate::error::Result;
    use crate::plan::Host;
    use crate::plan::namespaces::CloneMethod;

    const CONFIG: &str = r#"{"process":{
        "args":["own"],"cwd":"/own","env":["A=own"],"user":{"uid":1,"gid":2,"umask":63,"additionalGids":[3]},
        "capabilities":{"bounding":["CAP_CHOWN"],"permitted":["CAP_CHOWN"],"effective":["CAP_CHOWN"]},
        "rlimits":[{"type":"RLIMIT_CORE","soft":1,"hard":2}],"oomScoreAdj":7,"noNewPrivileges":true}}"#;
    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;

    fn decide(changes: &ExecRequest<'_>) -> Result<ExecPlan> {
        ExecPlan::decide(CONFIG.as_bytes(), changes, &Host::for_tests())
    }

    fn with(change: impl FnOnce(&mut ExecRequest<'_>)) -> Result<ExecPlan> {
        let program = [OsString::from("program")];
        let mut changes = ExecRequest { program: &program, ..ExecRequest::default() };
        change(&mut changes);
        decide(&changes)
    }

    #[test]
    fn without_flags_all_but_the_program_is_the_containers() {
        let process = with(|_| ()).expect("a plan").entry.process;
        assert_eq!((process.args, process.cwd.as_str()), (vec![c"program".to_owned()], "/own"));
        assert_eq!((process.user.uid, process.user.gid, process.user.umask), (1, 2, 0o77));
        assert_eq!(
            (process.oom_score_adj, process.rlimits.len(), process.no_new_privileges),
            (Some(7), 1, true)
        );
    }

    #[test]
    fn another_process_is_filled_in() {
        let text = br#"{"args":["x"],"cwd":"/","user":{"uid":5}}"#;
        let process = decide(&ExecRequest { process: Some(text), ..ExecRequest::default() })
            .expect("a plan")
            .entry
            .process;
        assert_eq!((process.user.uid, process.user.gid, process.user.umask), (5, 0, 0o77));
        assert_eq!((process.env.len(), process.no_new_privileges), (0, false));
        assert_eq!(process.user.additional_gids, Some(Vec::new()));
        assert_eq!((process.capabilities.bounding, process.rlimits.len()), (CHOWN, 0));
    }

    #[test]
    fn ids_are_numbers_and_nothing_else() {
        for (user, ids) in [("0", (0, 2)), ("7:8", (7, 8)), ("4294967294:0", (u32::MAX - 1, 0))] {
            let user = with(|changes| changes.user = Some(user)).expect(user).entry.process.user;
            assert_eq!((user.uid, user.gid), ids);
        }
        for user in [
            "",
            "1x",
            ":5",
            "5:",
            "+5",
            "-1",
            " 1",
            "99999999999",
            "4294967295",
            "1:2:3",
            "root",
            "0x0",
            "٣",
        ] {
            with(|changes| changes.user = Some(user)).expect_err(user);
        }
    }

    #[test]
    fn given_capabilities_are_never_inheritable() {
        let names = ["CAP_KILL".to_owned()];
        let program = [OsString::from("program")];
        let changes =
            ExecRequest { program: &program, capabilities: &names, ..ExecRequest::default() };
        let sets = decide(&changes).expect("a plan").entry.process.capabilities;
        assert_eq!(
            (sets.bounding, sets.permitted, sets.effective),
            (CHOWN | KILL, CHOWN | KILL, CHOWN | KILL)
        );
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
        let config =
            br#"{"process":{"cwd":"/","capabilities":{"bounding":["CAP_CHOWN"],"inheritable":["CAP_CHOWN"]}}}"#;
        let sets = ExecPlan::decide(config, &changes, &Host::for_tests())
            .expect("a plan")
            .entry
            .process
            .capabilities;
        assert_eq!((sets.inheritable, sets.ambient), (CHOWN, 0));
        let names = ["CAP_CHOWN".to_owned()];
        let changes = ExecRequest { capabilities: &names, ..changes };
        let sets = ExecPlan::decide(config, &changes, &Host::for_tests())
            .expect("a plan")
            .entry
            .process
            .capabilities;
        assert_eq!((sets.inheritable, sets.ambient), (CHOWN, CHOWN));
        let sets = ExecPlan::decide(br#"{"process":{"cwd":"/"}}"#, &changes, &Host::for_tests())
            .expect("a plan");
        assert_eq!(sets.entry.process.capabilities.bounding, CHOWN);
    }

    /// A table: which `exec` needs the bootstrap.
    #[test]
    fn birth_is_direct_where_nobody_can_look() {
        let ordinary = Host { capabilities: 0, ..Host::for_tests() };
        let users_root = Host { rootless: true, ..Host::for_tests() };
        let program = [OsString::from("program")];
        for (namespaces, host, method) in [
            (
                r#"{"type":"user","path":"/u"},{"type":"pid"}"#,
                Host::for_tests(),
                CloneMethod::Direct,
            ),
            (
                r#"{"type":"user","path":"/u"},{"type":"pid"}"#,
                ordinary.clone(),
                CloneMethod::ViaBootstrap,
            ),
            (
                r#"{"type":"user","path":"/u"},{"type":"time"}"#,
                ordinary.clone(),
                CloneMethod::ViaBootstrap,
            ),
            (r#"{"type":"user","path":"/u"},{"type":"ipc"}"#, ordinary, CloneMethod::Direct),
            (r#"{"type":"pid"}"#, Host::for_tests(), CloneMethod::ViaBootstrap),
            (r#"{"type":"time"}"#, Host::for_tests(), CloneMethod::Direct),
            (r#"{"type":"time"}"#, users_root.clone(), CloneMethod::ViaBootstrap),
            (r#"{"type":"ipc"}"#, users_root, CloneMethod::Direct),
        ] {
            let text =
                format!(r#"{{"process":{{"cwd":"/"}},"linux":{{"namespaces":[{namespaces}]}}}}"#);
            let changes = ExecRequest { program: &program, ..ExecRequest::default() };
            let plan = ExecPlan::decide(text.as_bytes(), &changes, &host).expect("a plan");
            assert_eq!((plan.clone_method, plan.own != 0), (method, true), "{namespaces}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let of = |text: &str| match decide(&ExecRequest {
            process: Some(text.as_bytes()),
            ..ExecRequest::default()
        }) {
            Ok(plan) => panic!("{text}: {plan:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(of(r#"{"cwd":"/"}"#), "process.args: args must not be empty");
        assert_eq!(of(r#"{"args":["x"],"cwd":"x"}"#), "process.cwd: Cwd must be an absolute path");
        assert!(of(r#"{"args":[7]}"#).starts_with("process.args[0]: invalid type: integer `7`"));
        assert!(of("{").starts_with("process: EOF while parsing"));
        assert!(
            decide(&ExecRequest::default())
                .expect_err("no program")
                .to_string()
                .contains("args cannot be empty")
        );
        let env = ["NAME".to_owned()];
        decide(&ExecRequest { env: &env, ..ExecRequest::default() }).expect_err("no value");
    }
}
