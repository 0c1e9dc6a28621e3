//! `run`: runs an image in a container, on unpacked layers of the store.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;

use super::image_args::{FetchedImage, ImageArgs};
use super::unpack::LimitArgs;
use crate::bundle;
use crate::config::{ContainerConfig, ContainerMount};
use crate::convert::{self, Overrides};
use crate::image::Image;
use crate::layout::Layout;
use crate::rootfs::Owners;
use crate::runtime::OciRuntime;
use crate::store::record::ImageRecord;
use crate::store::{Store, gc};
use crate::{interrupt, user_namespace};

/// Run an image in a container. The container and all that it has written are removed at its end.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The image
    #[command(flatten)]
    pub source: ImageArgs,
    /// Arguments of the program, instead of the image's Cmd
    #[arg(trailing_var_arg = true)]
    pub args: Vec<String>,
    /// The name of the container [default: random]
    #[arg(long, value_name = "ID")]
    pub name: Option<String>,
    /// The program, instead of the image's Entrypoint and Cmd
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Set a variable, or pass ours on; may be given several times
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The user, instead of the image's User
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// The working directory, instead of the image's WorkingDir
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Mount a file or directory of the host; may be given several times
    #[arg(short, long, value_name = "HOST:CONTAINER[:ro]", value_parser = parse_volume)]
    pub volume: Vec<BindVolume>,
    /// The network: only a loopback interface, or the host's
    #[arg(long, value_enum, default_value_t = NetworkArg::None)]
    pub net: NetworkArg,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Ask the registry even if the image is in the store
    #[arg(long)]
    pub pull: bool,
    /// How much may be unpacked
    #[command(flatten)]
    pub limits: LimitArgs,
    /// The directory of layers and containers [default: /var/lib/orlop-image, or
    /// $XDG_DATA_HOME/orlop-image]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// The runtime [default: orlop beside this program, or in PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub runtime: Option<PathBuf>,
}

/// The network of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkArg {
    /// A network namespace with a loopback interface.
    None,
    /// The host's network, with its resolv.conf and hosts.
    Host,
}

/// A bind mount of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindVolume {
    /// The absolute path on the host.
    pub source: String,
    /// The absolute path in the container.
    pub destination: String,
    /// Whether it is read-only.
    pub read_only: bool,
}

fn parse_volume(text: &str) -> Result<BindVolume, String> {
    let wrong =
        || format!("{text:?} is not HOST:CONTAINER or HOST:CONTAINER:ro, with absolute paths");
    let (text, read_only) = text.strip_suffix(":ro").map_or((text, false), |text| (text, true));
    let (source, destination) = text.split_once(':').ok_or_else(wrong)?;
    if !source.starts_with('/') || !destination.starts_with('/') || destination.contains(':') {
        return Err(wrong());
    }
    Ok(BindVolume { source: source.to_owned(), destination: destination.to_owned(), read_only })
}

/// Carries out `run`. Returns the exit code: that of the program, or 128 and the signal that ended
/// it.
///
/// # Errors
/// The image, the store or the runtime has an error. Nothing of the container is left then.
pub fn run(args: &RunArgs) -> Result<u8> {
    let store = Store::open(args.store.as_deref())?;
    let adding = store.lock_shared()?;
    let archive = args.source.archive();
    let found = find(args, &store, archive.as_deref())?;
    let image = Image::read(&found.layout, found.manifest)?;
    args.source.check(&image)?;
    let chain = image.chain_ids()?;
    let rootless = !rustix::process::geteuid().is_root();
    if rootless {
        user_namespace::enter(CloneFlags::CLONE_NEWNS)?;
    } else {
        unshare(CloneFlags::CLONE_NEWNS).context("unshare(CLONE_NEWNS)")?;
    }
    if !store.has(&chain)? {
        let owners = if rootless { Owners::Recorded } else { Owners::Set };
        store.unpack(&found.layout, &image, owners, &args.limits.budget()?)?;
    }
    let platform = args.source.platform().to_string();
    store.remember(&ImageRecord {
        archive,
        ..ImageRecord::new(&args.source.key()?, &platform, &image)?
    })?;
    let id = args.name.clone().map_or_else(random_name, Ok)?;
    let mut container = store.reserve(&id, &chain)?;
    let rootfs = container.mount(&store.lower(&chain), rootless)?;
    let runtime = OciRuntime::find(args.runtime.as_deref());
    let template = store.spec(&runtime, rootless)?;
    let mut config = convert::convert(template, &image.config, &args.overrides(), &rootfs)?;
    args.apply_flags(&mut config, &id);
    bundle::write_config(container.bundle(), &config)?;
    drop(rootfs);
    // The lock is released only now: without it, gc would remove the container while it is made.
    drop(adding);
    container.share_lock()?;
    // Installed before the child is started, so that no signal is missed.
    let signals = [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
    let signals = SignalsInfo::<WithOrigin>::new(signals).context("sigaction()")?;
    interrupt::remove_handlers()?;
    let mut command = runtime.command();
    command.arg("run").arg("--bundle").arg(container.bundle()).arg(&id);
    let child = command.spawn().with_context(|| format!("running {}", runtime.show()))?;
    let status = wait(child, signals)?;
    if status.signal().is_some() && gc::is_running(&runtime, &id)? {
        container.abandon();
    } else {
        container.sweep_later(&store);
    }
    Ok(code(status))
}

/// The image: in its own layout, in the store from an earlier run, or copied to the store.
fn find(args: &RunArgs, store: &Store, archive: Option<&str>) -> Result<FetchedImage> {
    if let Some(found) = args.source.find()? {
        return Ok(found);
    }
    let platform = args.source.platform().to_string();
    if !args.pull
        && let Some(record) = store.recall(&args.source.key()?, &platform)?
        && record.archive.as_deref() == archive
    {
        return Ok(FetchedImage {
            layout: Layout::open(&store.layout())?,
            manifest: record.manifest,
        });
    }
    args.source.fetch(&store.layout(), args.limits.max_size)
}

impl RunArgs {
    fn overrides(&self) -> Overrides {
        Overrides {
            entrypoint: self.entrypoint.clone().map(|program| vec![program]),
            args: Some(self.args.clone()).filter(|args| !args.is_empty()),
            env: self.env.clone(),
            user: self.user.clone(),
            cwd: self.workdir.clone(),
        }
    }

    /// Applies the flags to config.json.
    fn apply_flags(&self, config: &mut ContainerConfig, id: &str) {
        config.process.terminal = self.tty;
        config.hostname = Some(id.to_owned());
        if self.net == NetworkArg::Host {
            config.linux.namespaces.retain(|namespace| namespace.kind != "network");
            for file in ["/etc/resolv.conf", "/etc/hosts"] {
                if PathBuf::from(file).is_file() {
                    let (source, destination) = (file.to_owned(), file.to_owned());
                    config.mounts.push(bind(&BindVolume { source, destination, read_only: true }));
                }
            }
        }
        // Last, so that no other mount covers them.
        config.mounts.extend(self.volume.iter().map(bind));
    }
}

fn bind(volume: &BindVolume) -> ContainerMount {
    let access = if volume.read_only { "ro" } else { "rw" };
    let options = ["rbind", "rprivate", access].map(str::to_owned).to_vec();
    ContainerMount::new(&volume.destination, "bind", &volume.source, options)
}

/// A random name of twelve hexadecimal digits.
fn random_name() -> Result<String> {
    let mut bytes = [0; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context("getrandom()")?;
    Ok(bytes.iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}")))
}

/// Waits for the runtime. Signals to us are forwarded to the runtime, which forwards them to the
/// container. The kernel sends signals of a terminal to the runtime directly.
fn wait(mut child: Child, mut signals: SignalsInfo<WithOrigin>) -> Result<ExitStatus> {
    let pid = Pid::from_raw(child.id().cast_signed());
    for received in signals.forever() {
        if received.signal == SIGCHLD {
            if let Some(status) = child.try_wait().context("waiting for the runtime")? {
                return Ok(status);
            }
        } else if received.process.is_some() {
            // The runtime may have ended just now.
            let _ = kill(pid, Signal::try_from(received.signal).context("a signal")?);
        }
    }
    child.wait().context("waiting for the runtime")
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let volume = parse_volume("/srv/a:/b:ro").unwrap();
        assert_eq!(
            (&*volume.source, &*volume.destination, volume.read_only),
            ("/srv/a", "/b", true)
        );
        assert!(!parse_volume("/a:/b").unwrap().read_only);
        for text in ["", "/a", "a:/b", "/a:b", "/a:/b:rw", "/a:/b:ro:ro", ":/b", "/a:"] {
            assert!(parse_volume(text).is_err(), "{text}");
        }
    }
}
