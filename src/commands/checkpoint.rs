//! `checkpoint`: saves a container's processes, by criu.

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
use crate::log::Phases;
use crate::plan::namespaces::NETWORK;
use crate::plan::{self, Host, Plan, Request};
use crate::state::Status;
use crate::sys::clone::CloneRequest;
use crate::sys::{Named, fd};

/// What `checkpoint` is asked for.
#[derive(Debug, Default, Clone)]
pub struct Checkpoint {
    /// The container's id.
    pub id: String,
    /// What `restore` can be asked for, too.
    pub options: CriuOptions,
    /// Directory of images that a `pre_dump` has made before, seen from that of these.
    pub parent_path: Option<PathBuf>,
    /// Let the container go on afterwards.
    pub leave_running: bool,
    /// Leave out TCP connections that are being made.
    pub tcp_skip_in_flight: bool,
    /// Give files that have been deleted, but have other names, a name again.
    pub link_remap: bool,
    /// Write a zero byte to this descriptor when pages can be asked for (`lazy_pages`).
    pub status_fd: Option<u32>,
    /// Where the pages go to, or can be asked for.
    pub page_server: Option<PageServer>,
    /// Save the memory only, and let the container go on.
    pub pre_dump: bool,
}

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Default, Clone)]
pub struct CriuOptions {
    /// Directory of the images.
    pub image_path: PathBuf,
    /// Directory of criu's log and work files, if not that of the images.
    pub work_path: Option<PathBuf>,
    /// Take established TCP connections along.
    pub tcp_established: bool,
    /// Allow connected unix sockets whose other end is outside.
    pub ext_unix_sk: bool,
    /// Allow a terminal that is outside.
    pub shell_job: bool,
    /// Take file locks along.
    pub file_locks: bool,
    /// How the cgroups below the container's are treated; else as criu does by itself.
    pub cgroups: Option<CgroupsMode>,
    /// Take pages out of images that are older, or no longer needed.
    pub auto_dedup: bool,
    /// Bring pages when they are touched.
    pub lazy_pages: bool,
}

/// How criu treats cgroups (criu(8), `--manage-cgroups`); the numbers are those of its
/// `criu_cg_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Restore the properties of those that criu makes.
    Soft = 3,
    /// Restore all properties.
    Full = 4,
    /// None may be there before.
    Strict = 5,
    /// Leave them as they are.
    Ignore = 0,
}

/// Who takes or asks for pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// criu's own default.
const DEFAULT_MODE: u64 = 6;

/// The name of the file with criu's account of it.
const LOG: &str = "dump.log";

/// `mem_track` and `lazy_pages` of `criu_features`.
const MEMORY_TRACKING: u32 = 1;
const LAZY_PAGES: u32 = 2;

/// Carries out `checkpoint`. Unless it is to go on, the container is gone afterwards.
///
/// # In a process of its own
/// It needs one with a single thread: it makes criu. It may take as long as the memory is large.
///
/// # Errors
/// A container that does not run; what criu could not do. Then the container goes on as it was.
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
        drop(criu); // it waits for the rest, to be asked for by us
    } else {
        criu.finish()?;
    }
    phases.end("dump");
    if !args.leave_running && !args.pre_dump {
        // criu has killed its processes, so it is deleted as any other that has ended.
        delete::destroy(&container);
        phases.end("remove");
    }
    Ok(())
}

/// What was decided when the container was made.
fn plan_of(container: &Container, state_root: &Path) -> Result<Plan> {
    let saved = &container.saved;
    let text = container.config()?;
    let host = Host::probe(Rootless::default())?;
    let manager = match &saved.systemd_unit {
        _ if saved.cgroup_paths.is_empty() => CgroupManager::Disabled,
        None => CgroupManager::Cgroupfs,
        Some(_) => CgroupManager::Systemd,
    };
    // Whether it has a notify socket only `create` knew: what is not mounted is not saved.
    let notify = state_root.join(&saved.id).join(notify::DIRECTORY);
    let notify = notify.to_string_lossy();
    let request = Request {
        id: &saved.id,
        bundle: &saved.bundle,
        notify: Some(&notify),
        maker: manager.maker(&host)?,
        ..Request::default()
    };
    Plan::for_create(&text, &request, &host)
}

/// The descriptor of `--status-fd`, which is closed when it has been written to.
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
            // The directory of the images is not there yet, or there is nothing beside it.
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

    /// All that criu is told.
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
    /// The directories; made if `make` says so.
    pub(super) fn images(&self, log: &str, make: bool) -> Result<Images> {
        let path = std::path::absolute(&self.image_path)?;
        let work = self.work_path.as_deref().map(std::path::absolute).transpose()?;
        Images::open(&path, work.as_deref(), log, make)
    }

    /// Tells criu of them, and of what is the same for both directions.
    /// `settings` is the file of criu's own settings.
    pub(super) fn set_criu_options(&self, settings: Option<&str>, options: &mut CriuMessage) {
        options.switch(option::TCP_ESTABLISHED, self.tcp_established);
        options.switch(option::EXT_UNIX_SK, self.ext_unix_sk);
        options.switch(option::SHELL_JOB, self.shell_job);
        options.switch(option::FILE_LOCKS, self.file_locks);
        options.switch(option::AUTO_DEDUP, self.auto_dedup);
        options.switch(option::LAZY_PAGES, self.lazy_pages);
        options.switch(option::NOTIFY_SCRIPTS, true);
        options.switch(option::ORPHAN_PTS_MASTER, true);
        options.switch(option::MANAGE_CGROUPS, true); // for those who do not know the mode
        let mode = self.cgroups.map_or(DEFAULT_MODE, |mode| mode as u64);
        options.number(option::MANAGE_CGROUPS_MODE, mode);
        // Devices, addresses and rules are hooks' and callers' to make anew: the other ends are not
        // in the container.
        options.number(option::EMPTY_NS, NETWORK.flag);
        // Where people put what no flag is for. Its settings count more than ours.
        if let Some(file) = settings {
            options.text(option::CONFIG_FILE, file);
        }
    }
}
