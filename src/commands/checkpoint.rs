//! `checkpoint`: saves the processes of a container with criu.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{CgroupManager, delete, status_of};
use crate::container::{Container, ContainerId, notify};
use crate::criu::CriuProgram;
use crate::criu::external::{self, View};
use crate::criu::images::Images;
use crate::criu::message::{self, CriuMessage, RequestType, option};
use crate::criu::refused;
use crate::error::{Context, Failure, Result};
use crate::host::Rootless;
use crate::host::cgroups::CgroupLayout;
use crate::log::Phases;
use crate::plan::namespaces::NETWORK;
use crate::plan::{self, Host, Plan, Request};
use crate::state::Status;
use crate::sys::clone::CloneRequest;
use crate::sys::{Named, fd};

/// A `checkpoint` request.
#[derive(Debug, Default, Clone)]
pub struct Checkpoint {
    /// The container's id.
    pub id: String,
    /// The options that `restore` has, too.
    pub options: CriuOptions,
    /// Directory of the images of an earlier `pre_dump`, relative to `image_path`.
    pub parent_path: Option<PathBuf>,
    /// Leave the container running afterwards.
    pub leave_running: bool,
    /// Skip TCP connections that are not established yet.
    pub tcp_skip_in_flight: bool,
    /// Save deleted files that have other hard links, by a temporary link.
    pub link_remap: bool,
    /// Write a zero byte to this descriptor when pages can be requested (`lazy_pages`).
    pub status_fd: Option<u32>,
    /// The server to send the pages to. With `lazy_pages`, the address to listen on for requests.
    pub page_server: Option<PageServer>,
    /// Save only the memory, and leave the container running.
    pub pre_dump: bool,
}

/// The options that `checkpoint` and `restore` have in common.
#[derive(Debug, Default, Clone)]
pub struct CriuOptions {
    /// Directory of the images.
    pub image_path: PathBuf,
    /// Directory for criu's log and work files, if it is not `image_path`.
    pub work_path: Option<PathBuf>,
    /// Include established TCP connections.
    pub tcp_established: bool,
    /// Allow connected unix sockets whose other end is outside the container.
    pub ext_unix_sk: bool,
    /// Allow a terminal that is outside the container.
    pub shell_job: bool,
    /// Include file locks.
    pub file_locks: bool,
    /// How criu handles the cgroups below the container's. `None` for criu's default.
    pub cgroups: Option<CgroupsMode>,
    /// Remove pages from images if newer images have them, or if they are no longer needed.
    pub auto_dedup: bool,
    /// Transfer a page when it is first used.
    pub lazy_pages: bool,
}

/// How criu handles cgroups (criu(8), `--manage-cgroups`). The numbers are those of criu's
/// `criu_cg_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Restore the properties of the cgroups that criu makes.
    Soft = 3,
    /// Restore all properties.
    Full = 4,
    /// Restore all cgroups, none of which may exist before.
    Strict = 5,
    /// Leave cgroups as they are.
    Ignore = 0,
}

/// The address of a page server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// The default of criu.
const DEFAULT_MODE: u64 = 6;

/// The name of criu's log file.
const LOG: &str = "dump.log";

/// `mem_track` and `lazy_pages` of `criu_features`.
const MEMORY_TRACKING: u32 = 1;
const LAZY_PAGES: u32 = 2;

/// Saves the processes. Then deletes the container, unless `leave_running` or `pre_dump` is set.
///
/// # In a process of its own
/// The process must have one thread, because it starts criu. To save much memory takes long.
///
/// # Errors
/// An error if the container does not run, or if criu cannot save it. It then stays as it was.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use orlop::commands::checkpoint::{Checkpoint, CriuOptions, checkpoint};
///
/// let options = CriuOptions { image_path: "/var/images/web".into(), ..CriuOptions::default() };
/// let request = Checkpoint { id: "web".to_owned(), options, ..Checkpoint::default() };
/// checkpoint(&request, Path::new("/run/orlop"))?;
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn checkpoint(args: &Checkpoint, state_root: &Path) -> Result<()> {
    let mut phases = Phases::begin();
    let container = Container::lock(state_root, &ContainerId::parse(&args.id)?, || Ok(()))?;
    match status_of(&container)? {
        Status::Running | Status::Paused => {}
        status => {
            let text = format!("Container cannot be checkpointed in {status} state");
            return Err(Failure::WrongStatus(text.into()).into());
        }
    }
    let plan = plan_of(&container, state_root)?;
    external::refuse_namespaces(&plan)?;
    external::refuse_links(&plan)?;
    refused::refuse_delegated(&plan)?;
    refused::refuse_mounts(
        &View::of(container.saved.init_process_pid)?,
        &plan,
        &container.saved.added_mounts,
    )?;
    refused::refuse_stand_ins(&plan)?;
    let settings = plan::criu::config_file(&plan.annotations)?;
    let mut status_fd = args.status_fd.map(take_status_fd).transpose()?;
    args.check_parent()?;
    let program = CriuProgram::find()?;
    if args.pre_dump {
        program.need(MEMORY_TRACKING, "MemTrack")?;
    }
    if args.options.lazy_pages {
        program.need(LAZY_PAGES, "LazyPages")?;
    }
    let images = args.options.images(LOG, true)?;
    let options = args.criu_options(&container, &plan, settings, &images)?;
    phases.end("plan");

    let criu = program.start(&CloneRequest::default(), &[], |_| Ok(()))?;
    let kind = if args.pre_dump { RequestType::PreDump } else { RequestType::Dump };
    let dumped = criu.ask(&message::request(kind, &options), |event| {
        log::debug!("{}: criu: {}", args.id, event.name);
        if event.name == "status-ready"
            && let Some(status) = status_fd.take()
        {
            rustix::io::write(&status, &[0]).named(|| "write(--status-fd)".to_owned())?;
        }
        Ok(())
    });
    dumped.map_err(|error| images.explain(error))?;
    if args.pre_dump {
        drop(criu); // it waits for a further request
    } else {
        criu.finish()?;
    }
    phases.end("dump");
    if !args.leave_running && !args.pre_dump {
        // criu has killed the processes, so it is deleted as any other stopped container.
        delete::destroy(&container);
        phases.end("remove");
    }
    Ok(())
}

/// The plan of the container, as when it was made.
fn plan_of(container: &Container, state_root: &Path) -> Result<Plan> {
    let saved = &container.saved;
    let text = container.config()?;
    let host = Host::probe(Rootless::default())?;
    let manager = match &saved.systemd_unit {
        _ if saved.cgroup_paths.is_empty() => CgroupManager::Disabled,
        None => CgroupManager::Cgroupfs,
        Some(_) => CgroupManager::Systemd,
    };
    // state.json does not have the notify socket. If it is not mounted, it is not saved.
    let notify = state_root.join(&saved.id).join(notify::DIRECTORY);
    let notify = notify.to_string_lossy();
    let request = Request {
        id: &saved.id,
        bundle: &saved.bundle,
        notify: Some(&notify),
        maker: manager.maker(&host)?,
        ..Request::default()
    };
    Plan::for_create(&text, &request, &host, &CgroupLayout::probe()?)
}

/// The descriptor of `--status-fd`, which is closed after it was written to.
fn take_status_fd(number: u32) -> Result<OwnedFd> {
    fd::take_writable(number).with_context(|| format!("invalid --status-fd argument {number}"))
}

impl Checkpoint {
    fn check_parent(&self) -> Result<()> {
        let Some(parent) = self.parent_path.as_deref() else { return Ok(()) };
        if parent.is_absolute() {
            return Err(Failure::Usage("--parent-path must be relative".to_owned()).into());
        }
        let images = &self.options.image_path;
        let mut path = images.join(parent);
        let mut found = std::fs::metadata(&path);
        if found.is_err()
            && let (Ok(beside), Some(directory)) = (parent.strip_prefix(".."), images.parent())
        {
            // Either the directory of the images does not exist yet, or the parent does not exist.
            path = directory.join(beside);
            found = std::fs::metadata(&path);
        }
        let stat = found.named_on("stat", &path).context("invalid --parent-path")?;
        if !stat.is_dir() {
            return Err(Failure::Usage(format!(
                "invalid --parent-path: {} is not a directory",
                path.display()
            ))
            .into());
        }
        Ok(())
    }

    /// All options for criu.
    fn criu_options(
        &self,
        container: &Container,
        plan: &Plan,
        settings: Option<&str>,
        images: &Images,
    ) -> Result<CriuMessage> {
        let pid = container.saved.init_process_pid;
        let mut options = images.options();
        self.options.set_criu_options(settings, &mut options);
        options.number(option::PID, u64::from(pid.unsigned_abs()));
        options.switch(option::LEAVE_RUNNING, self.leave_running);
        options.switch(option::TCP_SKIP_IN_FLIGHT, self.tcp_skip_in_flight);
        options.switch(option::LINK_REMAP, self.link_remap);
        let cgroups = &container.saved.cgroup_paths;
        if let Some(path) = cgroups.only_v2().or_else(|| cgroups.of_controller("freezer")) {
            options.text(option::FREEZE_CGROUP, &path.to_string_lossy());
        }
        let parent = self.parent_path.as_deref();
        if let Some(parent) = parent {
            options.text(option::PARENT_IMAGE, &parent.to_string_lossy());
        }
        options.switch(option::TRACK_MEMORY, self.pre_dump || parent.is_some());
        if let Some(server) = &self.page_server {
            let mut message = CriuMessage::default();
            message.text(1, &server.address);
            message.number(2, server.port);
            options.message(option::PAGE_SERVER, &message);
        }
        external::name_namespaces(plan, pid, &mut options)?;
        if !self.pre_dump {
            let view = View::of(pid)?;
            view.check(plan)?;
            for (place, name) in view.mounts(plan)? {
                options.pair(option::EXTERNAL_MOUNT, &place, &name);
            }
            let (streams, files) = view.streams()?;
            files.iter().for_each(|file| options.text(option::EXTERNAL, file));
            images.keep_descriptors(&streams)?;
        }
        Ok(options)
    }
}

impl CriuOptions {
    /// Opens the directories, and creates them before if `make` is true.
    pub(super) fn images(&self, log: &str, make: bool) -> Result<Images> {
        let path = std::path::absolute(&self.image_path)?;
        let work = self.work_path.as_deref().map(std::path::absolute).transpose()?;
        Images::open(&path, work.as_deref(), log, make)
    }

    /// Sets these options, and others that both `checkpoint` and `restore` need. `settings` is a
    /// file with settings of criu.
    pub(super) fn set_criu_options(&self, settings: Option<&str>, options: &mut CriuMessage) {
        options.switch(option::TCP_ESTABLISHED, self.tcp_established);
        options.switch(option::EXT_UNIX_SK, self.ext_unix_sk);
        options.switch(option::SHELL_JOB, self.shell_job);
        options.switch(option::FILE_LOCKS, self.file_locks);
        options.switch(option::AUTO_DEDUP, self.auto_dedup);
        options.switch(option::LAZY_PAGES, self.lazy_pages);
        options.switch(option::NOTIFY_SCRIPTS, true);
        options.switch(option::ORPHAN_PTS_MASTER, true);
        options.switch(option::MANAGE_CGROUPS, true); // for versions without the mode
        let mode = self.cgroups.map_or(DEFAULT_MODE, |mode| mode as u64);
        options.number(option::MANAGE_CGROUPS_MODE, mode);
        // Hooks or callers create network devices, addresses and rules again, because the other
        // ends are not in the container.
        options.number(option::EMPTY_NS, NETWORK.flag);
        // A file for settings that have no flag. They take precedence over ours.
        if let Some(file) = settings {
            options.text(option::CONFIG_FILE, file);
        }
    }
}
