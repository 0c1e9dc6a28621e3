//! The causes of errors that we have advice on. The code that finds an error names its cause, so
//! that advice never depends on the words of a message.

use std::fmt::{self, Display};

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The bundle has no config.json.
    NoConfig,
    /// A value of config.json has another JSON type than it must have.
    WrongType,
    /// A value of config.json is out of range.
    WrongValue,
    /// A required property of config.json is missing.
    MissingField,
    /// A property of config.json appears twice.
    DuplicateField,
    /// The config needs a namespace that the container does not have.
    NeedsNamespace,
    /// The container is not stopped.
    NotStopped,
    /// The container is not paused.
    NotPaused,
    /// systemd is not the init system of this machine.
    NoSystemd,
    /// The systemd of the user does not answer.
    NoUserSystemd,
    /// The user may not make a cgroup.
    CgroupDenied,
    /// The cgroup has processes already.
    CgroupInUse,
    /// The cgroup is frozen.
    CgroupFrozen,
    /// The machine has no such cgroup controller.
    NoController,
    /// systemd has not delegated the cgroup controller to the user.
    ControllerNotDelegated,
    /// criu does not exist, or is too old.
    NoCriu,
    /// criu lacks a feature, or the kernel lacks what criu needs for it.
    NoCriuFeature,
    /// criu's page server could not make its pipe large enough.
    PipeLimit,
    /// No directory of PATH has the program.
    NotInPath,
    /// PATH finds the program only relative to the working directory.
    RelativeInPath,
    /// The program's file may not be executed.
    ProgramForbidden,
    /// A user namespace cannot remove the flags of a mount.
    LockedFlags,
    /// The kernel does not have AppArmor or SELinux.
    NoSecurityModule,
    /// The machine has no resctrl, or not the part that is needed.
    NoResctrl,
    /// The kernel does not have this type of namespace.
    NoNamespaceType,
    /// The kernel allows no more namespaces of this type.
    NamespaceLimit,
    /// The kernel has no system call filters, or not the action.
    NoFilterAction,
    /// The seccomp agent does not answer.
    NoAgent,
    /// The host does not have the network device.
    NoNetDevice,
    /// The host does not have the device node.
    NoHostDevice,
}

impl Cause {
    /// The stable name of the cause, for another process.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoConfig => "no-config",
            Self::WrongType => "wrong-type",
            Self::WrongValue => "wrong-value",
            Self::MissingField => "missing-field",
            Self::DuplicateField => "duplicate-field",
            Self::NeedsNamespace => "needs-namespace",
            Self::NotStopped => "not-stopped",
            Self::NotPaused => "not-paused",
            Self::NoSystemd => "no-systemd",
            Self::NoUserSystemd => "no-user-systemd",
            Self::CgroupDenied => "cgroup-denied",
            Self::CgroupInUse => "cgroup-in-use",
            Self::CgroupFrozen => "cgroup-frozen",
            Self::NoController => "no-controller",
            Self::ControllerNotDelegated => "controller-not-delegated",
            Self::NoCriu => "no-criu",
            Self::NoCriuFeature => "no-criu-feature",
            Self::PipeLimit => "pipe-limit",
            Self::NotInPath => "not-in-path",
            Self::RelativeInPath => "relative-in-path",
            Self::ProgramForbidden => "program-forbidden",
            Self::LockedFlags => "locked-flags",
            Self::NoSecurityModule => "no-security-module",
            Self::NoResctrl => "no-resctrl",
            Self::NoNamespaceType => "no-namespace-type",
            Self::NamespaceLimit => "namespace-limit",
            Self::NoFilterAction => "no-filter-action",
            Self::NoAgent => "no-agent",
            Self::NoNetDevice => "no-net-device",
            Self::NoHostDevice => "no-host-device",
        }
    }

    /// A text with this cause.
    #[must_use]
    pub fn reason(self, text: impl Into<String>) -> Reason {
        Reason { text: text.into(), cause: Some(self) }
    }
}

/// The text of a failure, and its cause if there is advice on it. It can also be the context of
/// another error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// The text for people.
    pub text: String,
    /// The cause.
    pub cause: Option<Cause>,
}

impl<T: Into<String>> From<T> for Reason {
    fn from(text: T) -> Self {
        Self { text: text.into(), cause: None }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
