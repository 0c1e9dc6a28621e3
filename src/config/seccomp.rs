//! The `linux.seccomp` object.

use serde::Deserialize;

use super::{Text, nullable};

/// `linux.seccomp`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp<'a> {
    /// Action for a call that no rule names.
    #[serde(borrow)]
    pub default_action: Text<'a>,
    /// The error number of a default action that has one.
    pub default_errno_ret: Option<u32>,
    /// `SCMP_ARCH_…`: architectures besides the native one.
    #[serde(default, deserialize_with = "nullable")]
    pub architectures: Vec<Text<'a>>,
    /// `SECCOMP_FILTER_FLAG_…`. An absent list and an empty one are not the same.
    pub flags: Option<Vec<Text<'a>>>,
    /// Path of the agent's socket, which receives the listener.
    #[serde(default, deserialize_with = "nullable")]
    pub listener_path: Text<'a>,
    /// Text that the agent receives with the listener.
    #[serde(default, deserialize_with = "nullable")]
    pub listener_metadata: Text<'a>,
    /// The rules.
    #[serde(default, deserialize_with = "nullable")]
    pub syscalls: Vec<SeccompSyscall<'a>>,
}

/// One of `linux.seccomp.syscalls`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompSyscall<'a> {
    /// Names of system calls; at least one.
    #[serde(borrow)]
    pub names: Vec<Text<'a>>,
    /// `SCMP_ACT_…`.
    pub action: Text<'a>,
    /// The error number of an action that has one.
    pub errno_ret: Option<u32>,
    /// Conditions on the arguments. All must be true.
    #[serde(default, deserialize_with = "nullable")]
    pub args: Vec<SeccompArg<'a>>,
}

/// One of `linux.seccomp.syscalls[].args`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompArg<'a> {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// The value to compare with.
    pub value: u64,
    /// For `SCMP_CMP_MASKED_EQ`, the value to compare with; `value` is then the mask.
    #[serde(default, deserialize_with = "nullable")]
    pub value_two: u64,
    /// `SCMP_CMP_…`.
    #[serde(borrow)]
    pub op: Text<'a>,
}
