//! The program, its arguments and its properties.
//! config.json: process.{args, env, cwd, noNewPrivileges, oomScoreAdj}
//! config.json: process.rlimits[].{type, soft, hard}
//! config.json: process.user.{uid, gid, umask, additionalGids}
//! config.json: linux.personality.{domain, flags}

use std::ffi::CString;

use super::annotations;
use super::capabilities::{self, CapabilitySets};
use super::cpu_affinity::{self, CpuAffinity};
use super::labels::{self, Labels};
use super::memory_policy::{self, MemoryPolicyPlan};
use super::namespaces::NamespacesPlan;
use super::scheduling::{self, SchedulerPlan};
use super::{Host, Problems};
use crate::config;

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct ProcessPlan {
    /// argv; the program is the first.
    pub args: Vec<CString>,
    /// The environment, each name once.
    pub env: Vec<CString>,
    /// The value of PATH in it.
    pub search_path: String,
    /// Whether HOME has to be looked up in the container.
    pub needs_home: bool,
    /// Working directory.
    pub cwd: String,
    /// The user.
    pub user: UserPlan,
    /// The capabilities.
    pub capabilities: CapabilitySets,
    /// The limits: `RLIMIT_…` number, soft and hard limit, and the JSON pointer.
    pub rlimits: Vec<(u32, u64, u64, usize)>,
    /// Whether execve(2) may gain privileges.
    pub no_new_privileges: bool,
    /// The OOM score adjustment, if there is one.
    pub oom_score_adj: Option<i32>,
    /// The CPUs of a process that `exec` makes.
    pub exec_cpu_affinity: CpuAffinity,
    /// The scheduling, if the config has it.
    pub scheduler: Option<SchedulerPlan>,
    /// The value for ioprio_set(2), if the config has one.
    pub io_priority: Option<i32>,
    /// The NUMA memory policy, if the config has one.
    pub memory_policy: Option<MemoryPolicyPlan>,
    /// The labels of security modules.
    pub labels: Labels,
    /// Execution domain, if any.
    pub personality: Option<u64>,
}

/// `process.user`.
#[derive(Debug, PartialEq, Eq)]
pub struct UserPlan {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// The supplementary groups. With `None` those of the caller are kept.
    pub additional_gids: Option<Vec<u32>>,
    /// File mode creation mask.
    pub umask: u32,
}

/// The names and numbers of resource limits (getrlimit(2)). C libraries have different types for
/// the numbers.
pub static RLIMITS: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS as _),
    ("RLIMIT_CORE", libc::RLIMIT_CORE as _),
    ("RLIMIT_CPU", libc::RLIMIT_CPU as _),
    ("RLIMIT_DATA", libc::RLIMIT_DATA as _),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE as _),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS as _),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK as _),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE as _),
    ("RLIMIT_NICE", libc::RLIMIT_NICE as _),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE as _),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC as _),
    ("RLIMIT_RSS", libc::RLIMIT_RSS as _),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO as _),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME as _),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING as _),
    ("RLIMIT_STACK", libc::RLIMIT_STACK as _),
];

impl ProcessPlan {
    /// Whether there is a limit that only a privileged parent may set.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        !self.rlimits.is_empty() || self.scheduler.is_some() || self.io_priority.is_some()
    }
}

/// Decides the process. A config without `process`, which the specification allows for `create`, is
/// refused, as in runc.
pub fn decide(
    config: &config::Config<'_>,
    namespaces: &NamespacesPlan,
    host: &Host,
    problems: &mut Problems,
) -> ProcessPlan {
    let empty = config::Process::default();
    if config.process.is_none() {
        problems.add("/process", "process property must not be empty");
    }
    let process = config.process.as_ref().unwrap_or(&empty);
    if config.process.is_some() {
        if !process.cwd.starts_with('/') {
            problems.add("/process/cwd", "Cwd must be an absolute path");
        }
        if process.args.is_empty() {
            problems.add("/process/args", "args must not be empty");
        }
    }
    let (env, search_path, needs_home) = environment(&process.env, problems);
    if let Some(score @ (..-1000 | 1001..)) = process.oom_score_adj {
        problems.add("/process/oomScoreAdj", format!("{score} is not between -1000 and 1000"));
    }
    ProcessPlan {
        args: process
            .args
            .iter()
            .enumerate()
            .map(|(i, arg)| c_string("args", i, arg, problems))
            .collect(),
        env,
        search_path,
        needs_home,
        cwd: process.cwd.to_string(),
        user: user(config, &process.user, problems),
        capabilities: capabilities::decide(
            process.capabilities.as_ref(),
            namespaces,
            host,
            problems,
        ),
        rlimits: rlimits(&process.rlimits, problems),
        no_new_privileges: process.no_new_privileges,
        oom_score_adj: process.oom_score_adj,
        exec_cpu_affinity: cpu_affinity::decide(process.exec_cpu_affinity.as_ref(), problems),
        scheduler: scheduling::scheduler(config, problems),
        io_priority: scheduling::io_priority(process.io_priority.as_ref(), problems),
        memory_policy: memory_policy::decide(config.linux.memory_policy.as_ref(), problems),
        labels: labels::decide(process, host, problems),
        personality: personality(config.linux.personality.as_ref(), problems),
    }
}

fn user(config: &config::Config<'_>, user: &config::User<'_>, problems: &mut Problems) -> UserPlan {
    if let Some(umask @ 0o1000..) = user.umask {
        problems.add("/process/user/umask", format!("{umask:#o} is not a file mode creation mask"));
    }
    // The kernel treats `u32::MAX` as "no change": root would stay root.
    let lists =
        [("uid", &[user.uid][..]), ("gid", &[user.gid]), ("additionalGids", &user.additional_gids)];
    for (key, _) in lists.iter().filter(|(_, ids)| ids.contains(&u32::MAX)) {
        problems.add(format_args!("/process/user/{key}"), format!("{} is not an id", u32::MAX));
    }
    let keeps_groups = annotations::keeps_groups(&config.annotations);
    if keeps_groups && !user.additional_gids.is_empty() {
        let text = format!(
            "not set, as annotation {} keeps the groups of the caller",
            annotations::KEEP_GROUPS
        );
        problems.warn("/process/user/additionalGids", text);
    }
    UserPlan {
        uid: user.uid,
        gid: user.gid,
        additional_gids: (!keeps_groups).then(|| user.additional_gids.clone()),
        umask: user.umask.unwrap_or(0o022),
    }
}

fn c_string(list: &str, index: usize, text: &str, problems: &mut Problems) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        problems.add(format_args!("/process/{list}/{index}"), "must not contain NUL");
        CString::default()
    })
}

/// If a name occurs twice, the last value is used, at the position of the first.
fn environment(list: &[config::Text<'_>], problems: &mut Problems) -> (Vec<CString>, String, bool) {
    let mut names: Vec<&str> = Vec::with_capacity(list.len());
    let mut env = Vec::with_capacity(list.len() + 1);
    let mut search_path = String::new();
    let mut needs_home = true;
    for (index, entry) in list.iter().enumerate() {
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            problems.add(
                format_args!("/process/env/{index}"),
                format!(
                    "invalid environment variable {:?}: it needs the form NAME=VALUE",
                    &**entry
                ),
            );
            continue;
        };
        let text = c_string("env", index, entry, problems);
        match name {
            "PATH" => value.clone_into(&mut search_path),
            "HOME" => needs_home = value.is_empty(),
            _ => {}
        }
        match names.iter().position(|other| *other == name) {
            Some(place) => env[place] = text,
            None => {
                names.push(name);
                env.push(text);
            }
        }
    }
    if let Some(place) = names.iter().position(|name| needs_home && *name == "HOME") {
        env.remove(place);
    }
    (env, search_path, needs_home)
}

fn rlimits(list: &[config::Rlimit<'_>], problems: &mut Problems) -> Vec<(u32, u64, u64, usize)> {
    let mut limits: Vec<(u32, u64, u64, usize)> = Vec::with_capacity(list.len());
    for (index, limit) in list.iter().enumerate() {
        let Some((name, number)) = RLIMITS.iter().find(|(name, _)| *name == &*limit.kind) else {
            problems.add(
                format_args!("/process/rlimits/{index}/type"),
                format!("invalid rlimit type {:?}", &*limit.kind),
            );
            continue;
        };
        if limits.iter().any(|(other, ..)| other == number) {
            problems.add(
                format_args!("/process/rlimits/{index}/type"),
                format!("{name} is given twice"),
            );
        }
        if limit.soft > limit.hard {
            problems.add(
                format_args!("/process/rlimits/{index}"),
                format!("{name}: soft limit {} is above hard limit {}", limit.soft, limit.hard),
            );
        }
        limits.push((*number, limit.soft, limit.hard, index));
    }
    limits
}

fn personality(
    personality: Option<&config::Personality<'_>>,
    problems: &mut Problems,
) -> Option<u64> {
    let personality = personality?;
    if !personality.flags.is_empty() {
        problems.add(
            "/linux/personality/flags",
            "personality flags are not defined by the specification",
        );
    }
    match &*personality.domain {
        "LINUX" => Some(0),
        "LINUX32" => Some(8),
        other => {
            problems.add(
                "/linux/personality/domain",
                format!("unknown domain {other:?} (known: LINUX, LINUX32)"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::environment;
    use crate::config::Text;
    use crate::plan::Problems;

    #[test]
    fn the_last_value_of_a_name_counts() {
        let list: Vec<Text<'_>> =
            ["A=1", "PATH=/x", "HOME=", "A=2"].into_iter().map(Text::from).collect();
        let mut problems = Problems::default();
        let (env, search_path, needs_home) = environment(&list, &mut problems);
        assert_eq!(env, [c"A=2".to_owned(), c"PATH=/x".to_owned()]);
        assert_eq!((search_path.as_str(), needs_home), ("/x", true));
        assert!(problems.found().is_empty());
    }

    #[test]
    fn entries_have_a_name() {
        for entry in ["A", "=1", "A=\0"] {
            let mut problems = Problems::default();
            environment(&[Text::from(entry)], &mut problems);
            assert_eq!(
                problems.found().first().map(|problem| problem.key.as_str()),
                Some("/process/env/0")
            );
        }
    }
}
