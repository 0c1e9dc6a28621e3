//! Compiles linux.seccomp to cBPF: the program that the kernel runs before each system call.
//!
//! There are no system calls in this folder: `plan/seccomp.rs` reads config.json, and `sys/`
//! installs the program. libseccomp needs 7 to 11 milliseconds for the same work and this compiler
//! tens of microseconds, so no cache is needed. Tests compare our programs with the programs of
//! libseccomp (`oracle.rs`).
//!
//! * `arch.rs`, `syscalls.rs`, `calls.txt`: the tables.
//! * `clauses.rs`: the order of the rules for one call.
//! * `compile.rs`: the search for a number.
//! * `assemble.rs`: the instructions.

mod arch;
mod assemble;
mod clauses;
mod compile;
#[cfg(target_arch = "x86_64")]
#[cfg(test)]
mod interpreter;
#[cfg(target_arch = "x86_64")]
#[cfg(test)]
mod oracle;
mod syscalls;

use std::fmt::{self, Display};

pub use arch::{Arch, Width};
pub use compile::compile;
pub use syscalls::Syscall;

use crate::kernel::SockFilter;

/// How many instructions the kernel accepts (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A program for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// At least one instruction and at most [`MAX_INSTRUCTIONS`].
    pub program: Vec<SockFilter>,
}

/// The action of the kernel for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Kill the thread (`SCMP_ACT_KILL` and `SCMP_ACT_KILL_THREAD`).
    KillThread,
    /// Kill the process.
    KillProcess,
    /// Send SIGSYS.
    Trap,
    /// Fail with this error number.
    Errno(u16),
    /// Notify the tracer, with this number.
    Trace(u16),
    /// Allow the call.
    Allow,
    /// Allow the call and log it.
    Log,
    /// Notify the listener (seccomp_unotify(2)).
    Notify,
}

/// The names of the actions in config.json.
static ACTIONS: [(&str, Action); 9] = [
    ("SCMP_ACT_ALLOW", Action::Allow),
    ("SCMP_ACT_ERRNO", Action::Errno(Action::DEFAULT_ERRNO)),
    ("SCMP_ACT_KILL", Action::KillThread),
    ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
    ("SCMP_ACT_KILL_THREAD", Action::KillThread),
    ("SCMP_ACT_LOG", Action::Log),
    ("SCMP_ACT_NOTIFY", Action::Notify),
    ("SCMP_ACT_TRACE", Action::Trace(Action::DEFAULT_ERRNO)),
    ("SCMP_ACT_TRAP", Action::Trap),
];

impl Action {
    /// EPERM, for an action without a number in config.json.
    pub const DEFAULT_ERRNO: u16 = 1;
    /// ENOSYS.
    pub const NO_SUCH_CALL: Self = Self::Errno(38);

    /// Finds an action by its name in config.json. If it has a number, it gets
    /// [`Self::DEFAULT_ERRNO`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ACTIONS.iter().find(|(known, _)| *known == name).map(|(_, action)| *action)
    }

    /// The names in config.json, for `features`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ACTIONS.iter().map(|(name, _)| *name)
    }

    /// The same action with another number. `None` if the action has no number.
    #[must_use]
    pub fn with_number(self, number: u16) -> Option<Self> {
        match self {
            Self::Errno(_) => Some(Self::Errno(number)),
            Self::Trace(_) => Some(Self::Trace(number)),
            _ => None,
        }
    }

    /// Whether a call with this action may be executed although no rule names it.
    fn lets_pass(self) -> bool {
        // The tracer decides for itself, also about unknown calls.
        matches!(self, Self::Allow | Self::Log | Self::Trace(_))
    }

    /// The return value of a filter (`SECCOMP_RET_…`).
    #[must_use]
    pub fn to_return_value(self) -> u32 {
        match self {
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
            Self::Trap => 0x0003_0000,
            Self::Errno(number) => 0x0005_0000 | u32::from(number),
            Self::Notify => 0x7fc0_0000,
            Self::Trace(number) => 0x7ff0_0000 | u32::from(number),
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }
}

/// The comparison of an argument. All are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Greater.
    Gt,
    /// The bits in the mask `value` equal `value_two`.
    MaskedEq,
}

/// The names of the operators in config.json.
static OPERATORS: [(&str, Operator); 7] = [
    ("SCMP_CMP_EQ", Operator::Eq),
    ("SCMP_CMP_GE", Operator::Ge),
    ("SCMP_CMP_GT", Operator::Gt),
    ("SCMP_CMP_LE", Operator::Le),
    ("SCMP_CMP_LT", Operator::Lt),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEq),
    ("SCMP_CMP_NE", Operator::Ne),
];

impl Operator {
    /// Finds an operator by its name in config.json.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        OPERATORS.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    /// The names in config.json, for `features`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OPERATORS.iter().map(|(name, _)| *name)
    }
}

/// The highest index of an argument.
pub const MAX_ARGUMENT: u8 = 5;

/// A condition on one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// The index of the argument, 0 to [`MAX_ARGUMENT`].
    pub argument: u8,
    /// The comparison.
    pub operator: Operator,
    /// The value to compare with, or the mask of [`Operator::MaskedEq`].
    pub value: u64,
    /// The value of the masked bits.
    pub value_two: u64,
}

/// A rule: the action for some calls under some conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The calls.
    pub calls: Vec<Syscall>,
    /// The action.
    pub action: Action,
    /// All conditions must hold. If several are for the same argument, only one of all conditions
    /// must hold, as in runc.
    pub comparisons: Vec<Comparison>,
}

/// The action for calls with a number above the highest one that the profile names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeyondProfile {
    /// ENOSYS, unless the default action allows calls. Programs try a new call and fall back to an
    /// older one after ENOSYS, but not after EPERM.
    NoSuchCall,
    /// The default action, as with libseccomp alone.
    Default,
}

/// A profile to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The action for calls without a rule.
    pub default: Action,
    /// The architectures that are filtered besides [`Arch::NATIVE`]. A call of any other
    /// architecture kills the thread.
    pub architectures: Vec<Arch>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// The action for calls that are newer than the profile.
    pub beyond: BeyondProfile,
}

/// The reason why a profile cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// More instructions than the kernel accepts.
    TooLong(usize),
    /// A rule has some or all of the conditions of an earlier one, but another action.
    Conflict {
        /// The rule.
        rule: usize,
        /// The earlier rule.
        earlier: usize,
        /// The call.
        call: Syscall,
        /// The architecture.
        arch: Arch,
    },
}

impl Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => {
                write!(
                    f,
                    "the filter would have {length} instructions, the kernel takes {MAX_INSTRUCTIONS}"
                )
            }
            Self::Conflict { earlier, call, arch, .. } => write!(
                f,
                "the rule for {} contradicts syscalls[{earlier}] on {}: the same conditions, another action",
                call.name(),
                arch.name()
            ),
        }
    }
}

impl std::error::Error for CompileError {}
