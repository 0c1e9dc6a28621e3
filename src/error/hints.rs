//! Advice on errors, where there is some. It is a table, so that the code that makes an error needs
//! no advice.

use rustix::io::Errno;

use super::{Cause, Report};

/// The conditions of an advice. Empty and `None` match everything.
struct Hint {
    code: &'static str,
    cause: Option<Cause>,
    key: &'static str,
    /// The name of the call.
    call: &'static str,
    errno: Option<Errno>,
    advice: &'static str,
}

const ANY: Hint = Hint { code: "", cause: None, key: "", call: "", errno: None, advice: "" };

/// The first match is used.
const TABLE: &[Hint] = &[
    Hint { code: "container-exists", advice: "delete it first, or choose another id", ..ANY },
    Hint { cause: Some(Cause::NotStopped), advice: "kill it first, or use delete --force", ..ANY },
    Hint {
        cause: Some(Cause::NoSystemd),
        advice: "--systemd-cgroup is for machines that were booted with systemd: leave it away",
        ..ANY
    },
    Hint {
        cause: Some(Cause::NoUserSystemd),
        advice: "log in as the user, by ssh or machinectl shell and not by su, and install dbus-user-session",
        ..ANY
    },
    Hint {
        cause: Some(Cause::CgroupDenied),
        advice: "with --systemd-cgroup the user's systemd makes the cgroup; or run it all in a delegated one: \
                 systemd-run --user --scope -p Delegate=yes",
        ..ANY
    },
    Hint {
        cause: Some(Cause::ControllerNotDelegated),
        advice: "systemctl edit user@.service, add [Service] and Delegate=cpu cpuset io memory pids, log in anew",
        ..ANY
    },
    Hint { cause: Some(Cause::NoCriu), advice: "install criu 3.16 or newer (criu.org)", ..ANY },
    Hint {
        cause: Some(Cause::NoCriuFeature),
        advice: "the kernel may lack it: see criu check --all",
        ..ANY
    },
    Hint {
        cause: Some(Cause::PipeLimit),
        advice: "without CAP_SYS_RESOURCE, criu's page server needs a limit of 4194304 in /proc/sys/fs/pipe-max-size",
        ..ANY
    },
    Hint { cause: Some(Cause::NotPaused), advice: "see orlop state", ..ANY },
    Hint {
        cause: Some(Cause::NotInPath),
        advice: "PATH is that of process.env, the file must be in the container",
        ..ANY
    },
    Hint {
        cause: Some(Cause::ProgramForbidden),
        advice: "the file needs its x bit for the container's user, and a mount without noexec",
        ..ANY
    },
    Hint {
        cause: Some(Cause::RelativeInPath),
        advice: "PATH of process.env has an empty or relative element: make it absolute, or give the program's path",
        ..ANY
    },
    Hint {
        call: "exec",
        errno: Some(Errno::NOENT),
        advice: "the interpreter is missing: that of the #! line, or the program's dynamic loader",
        ..ANY
    },
    Hint {
        call: "exec",
        errno: Some(Errno::NOEXEC),
        advice: "a program for another architecture, or a script without a #! line",
        ..ANY
    },
    Hint {
        call: "fsopen",
        errno: Some(Errno::NODEV),
        advice: "the kernel does not know this filesystem: see /proc/filesystems, a module may have to be loaded",
        ..ANY
    },
    Hint {
        key: "/mounts",
        call: "open_tree",
        errno: Some(Errno::NOENT),
        advice: "the source of a bind mount must exist on the host",
        ..ANY
    },
    Hint {
        key: "/mounts",
        call: "mkdir",
        errno: Some(Errno::ROFS),
        advice: "the mount point is missing and its filesystem is read-only: make it in the image",
        ..ANY
    },
    Hint {
        key: "/mounts",
        call: "fsmount",
        errno: Some(Errno::PERM),
        advice: "in a user namespace a new proc needs a pid namespace, a new sysfs a network namespace, \
                 and neither may be masked outside",
        ..ANY
    },
    Hint {
        cause: Some(Cause::LockedFlags),
        advice: "the source's mount has them, and a user namespace cannot take them off: leave the option away, or mount \
                 the source without them",
        ..ANY
    },
    Hint {
        key: "/process/apparmorProfile",
        errno: Some(Errno::NOENT),
        advice: "the profile is not loaded: see aa-status, and load it with apparmor_parser",
        ..ANY
    },
    Hint {
        key: "/process/scheduler",
        errno: Some(Errno::PERM),
        advice: "realtime takes CAP_SYS_NICE, and in a cgroup v1 time of its own (linux.resources.cpu.realtimeRuntime)",
        ..ANY
    },
    Hint {
        key: "/linux/memoryPolicy",
        errno: Some(Errno::INVAL),
        advice: "the machine or its cpuset lacks a node, or the mode does not take the flags",
        ..ANY
    },
    Hint {
        key: "/linux/sysctl",
        errno: Some(Errno::NOENT),
        advice: "this kernel does not have the parameter, or it needs a namespace of the container's own",
        ..ANY
    },
    Hint {
        call: "clone3",
        errno: Some(Errno::PERM),
        advice: "making namespaces takes root or a user namespace: orlop spec --rootless writes such a config.json",
        ..ANY
    },
    Hint {
        call: "clone3",
        errno: Some(Errno::NOSPC),
        advice: "namespaces are nested too deep or too many: see /proc/sys/user/",
        ..ANY
    },
    Hint {
        call: "clone3",
        errno: Some(Errno::AGAIN),
        advice: "a limit of processes is reached: pids.max of a cgroup above, or ulimit -u",
        ..ANY
    },
    Hint {
        key: "/linux/cgroupsPath",
        errno: Some(Errno::AGAIN),
        advice: "the cgroup above allows no more of them: see its cgroup.max.descendants and cgroup.max.depth",
        ..ANY
    },
    Hint {
        call: "connect",
        errno: Some(Errno::CONNREFUSED),
        advice: "nobody listens at this socket",
        ..ANY
    },
    Hint { errno: Some(Errno::MFILE), advice: "raise the limit of open files: ulimit -n", ..ANY },
    Hint {
        errno: Some(Errno::NFILE),
        advice: "the machine has too many open files: /proc/sys/fs/file-max",
        ..ANY
    },
    Hint {
        errno: Some(Errno::NOSYS),
        advice: "the kernel is too old for it, or a system call filter around orlop forbids it",
        ..ANY
    },
];

impl Hint {
    fn fits(&self, report: &Report) -> bool {
        (self.code.is_empty() || self.code == report.code)
            && self.cause.is_none_or(|cause| cause.name() == report.cause)
            && report.key.starts_with(self.key)
            && (self.call.is_empty() || self.call == report.call_name())
            && self.errno.is_none_or(|errno| errno.raw_os_error() == report.errno)
    }
}

/// The advice on an error, or empty.
pub fn hint(report: &Report) -> &'static str {
    TABLE.iter().find(|hint| hint.fits(report)).map_or("", |hint| hint.advice)
}

#[cfg(test)]
mod tests {
    use super::{Report, TABLE, hint};

    #[test]
    fn advice_is_for_what_it_fits() {
        let report = |call: &str, errno| Report {
            call: call.into(),
            errno,
            code: "internal".into(),
            ..Report::default()
        };
        assert!(hint(&report("fsopen(\"nofs\")", libc::ENODEV)).contains("/proc/filesystems"));
        assert_eq!(hint(&report("fsopen(\"nofs\")", libc::EPERM)), "");
        assert!(hint(&report("openat2(4, \"x\")", libc::EMFILE)).contains("ulimit"));
        let paused = Report { cause: "not-paused".into(), ..Report::default() };
        assert_eq!(hint(&paused), "see orlop state");
        assert_eq!(hint(&Report::default()), "");
    }

    #[test]
    fn every_advice_names_its_case_and_is_one_line() {
        for hint in TABLE {
            assert!(
                !hint.code.is_empty() || hint.cause.is_some() || hint.errno.is_some(),
                "{}",
                hint.advice
            );
            assert!(!hint.advice.is_empty() && !hint.advice.contains('\n'), "{}", hint.advice);
        }
    }
}
