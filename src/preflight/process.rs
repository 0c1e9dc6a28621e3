//! Checks that the program is in the rootfs and that its limits can be set.

use std::ffi::CString;
use std::path::{Component, Path};

use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, fstat, stat};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::Reports;
use crate::error::{AtKey, Result};
use crate::init;
use crate::plan::Plan;
use crate::plan::mounts::{MountSource, clean};
use crate::plan::namespaces::MOUNT;
use crate::plan::process::ProcessPlan;
use crate::sys::root::RootHandle;
use crate::sys::{Call, CallText, Named, proc, process, small_file};

/// Checks that the file may be executed.
pub fn executable(path: &str) -> Result<(), Call> {
    let call = || CallText::on("posix_spawn", path);
    let found = stat(path).named(call)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS).named(call);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).named(call)
}

/// Checks by the rules of init that the program is in the rootfs. If a hook or a mount may add it,
/// nothing is checked.
pub fn program(plan: &Plan, root: &RootHandle) -> Result<()> {
    let Some(name) = plan.entry.process.args.first() else { return Ok(()) };
    let hooks = &plan.hooks;
    let early =
        [&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container];
    if plan.namespaces.joins(&MOUNT) || early.iter().any(|hooks| !hooks.is_empty()) {
        return Ok(());
    }
    let name = name.to_string_lossy();
    let check = |path: &str| {
        let full = Path::new(&plan.entry.process.cwd).join(path).to_string_lossy().into_owned();
        match may_be_mounted(plan, &full) {
            false => may_be_executed(root, &full),
            // init refuses a program that it finds by a relative directory of PATH.
            true if !path.starts_with('/') && !name.contains('/') => Err(Errno::NOENT),
            true => Ok(CString::default()),
        }
    };
    init::locate(&name, &plan.entry.process.search_path, check).map(drop).at("/process/args/0")
}

/// Checks that some user may execute the file. The program's user may have fewer rights.
fn may_be_executed(root: &RootHandle, path: &str) -> Result<CString, Errno> {
    let file = root.resolve(path).map_err(|call| Errno::from_raw_os_error(call.errno()))?;
    let mode = fstat(&file)?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::Directory => Err(Errno::ISDIR),
        _ if mode & 0o111 == 0 => Err(Errno::ACCESS),
        _ => Ok(CString::default()),
    }
}

/// Whether a mount may add the file at `path`, possibly behind a link in the rootfs. This can be
/// any mount that contains a directory.
fn may_be_mounted(plan: &Plan, path: &str) -> bool {
    const EMPTY: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];
    plan.mounts.iter().any(|step| match &step.source {
        MountSource::Filesystem { kind, .. } => !EMPTY.contains(&kind.as_str()) || step.copy_up,
        MountSource::Bind { path: source, .. } => {
            source.is_dir() || step.destination == clean(path)
        }
        MountSource::Cgroup { .. } | MountSource::Remount { .. } => false,
    }) || Path::new(path).components().any(|part| part == Component::ParentDir)
}

/// Checks that the limits can be set. A hard limit above our own needs CAP_SYS_RESOURCE in the
/// first user namespace.
pub fn limits(plan: &ProcessPlan, findings: &mut Reports) {
    for (resource, soft, hard, index) in &plan.rlimits {
        if is_out_of_reach(*resource, *hard) {
            let refused =
                Err(Errno::PERM).named(|| process::set_rlimit_text(0, *resource, *soft, *hard));
            findings.note(refused.at(format_args!("/process/rlimits/{index}")));
        }
    }
}

fn is_out_of_reach(resource: u32, hard: u64) -> bool {
    const OPEN_FILES: u32 = libc::RLIMIT_NOFILE as _; // C libraries have different types for it
    let most = || {
        let text = small_file::read_short(CWD, "/proc/sys/fs/nr_open", String::new).ok()?;
        String::from_utf8_lossy(&text).trim().parse::<u64>().ok()
    };
    if resource == OPEN_FILES && most().is_some_and(|most| hard > most) {
        return true;
    }
    let free = || {
        let ours = process::permitted()
            .is_ok_and(|capabilities| capabilities & CapabilitySet::SYS_RESOURCE.bits() != 0);
        ours && !proc::in_user_namespace().unwrap_or(false)
    };
    process::hard_limit(resource).is_some_and(|own| hard > own) && !free()
}
