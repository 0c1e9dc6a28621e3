//! CPU and I/O scheduling, and the NUMA memory policy.

use super::{Call, Named, check};
use crate::kernel::SchedAttr;

/// sched_setattr(2) on another process or, with pid 0, on ourselves.
///
/// # Errors
/// The error of the call; `EPERM` also for `SCHED_DEADLINE` with fewer than all CPUs, and for a
/// realtime policy in a cgroup v1 that has no realtime CPU time.
pub fn set_scheduler(pid: i32, attributes: &SchedAttr) -> Result<(), Call> {
    let attributes =
        SchedAttr { size: u32::try_from(size_of::<SchedAttr>()).unwrap_or(0), ..*attributes };
    // SAFETY: attributes is laid out as the struct sched_attr of the size that it says.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attributes, 0_u32) })
        .named(|| format!("sched_setattr({pid}, {attributes:?})"))
        .map(|_| ())
}

/// ioprio_set(2) on the process group of which `pid` is the leader.
///
/// # Errors
/// The error of the call; `EPERM` for the realtime class without CAP_SYS_NICE.
pub fn set_io_priority(pid: i32, priority: i32) -> Result<(), Call> {
    const IOPRIO_WHO_PGRP: libc::c_int = 2;
    // SAFETY: integers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, pid, priority) })
        .named(|| format!("ioprio_set(IOPRIO_WHO_PGRP, {pid}, {priority:#x})"))
        .map(|_| ())
}

/// set_mempolicy(2) on this thread. `nodes` has a bit for each node.
///
/// # Errors
/// The error of the call: `EINVAL` for nodes that do not exist, and for flags that the mode does
/// not allow.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Call> {
    // The kernel reads one bit less than the given number.
    let bits = if nodes.is_empty() { 0 } else { size_of_val(nodes) * 8 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the mask has as many bits as are said, or is null and none are.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })
        .named(|| format!("set_mempolicy({mode:#x}, {nodes:x?})"))
        .map(|_| ())
}
