//! Moves network devices into the container's network namespace, with their addresses, and sets
//! them up.
//! config.json: linux.netDevices
//! process: runtime
//!
//! All devices are checked before the first one is moved. A `create` that fails moves them back and
//! restores their state. Otherwise a failure would destroy a veth together with the namespace that
//! it is in. After the container was created, the devices belong to its namespace, and the kernel
//! decides what happens to them at its end, as the specification demands.
//!
//! Other processes may be root in a namespace that is joined. They can rename, delete and create
//! devices there. So we choose the index of a device when we move it, and move it back by this
//! index, through a namespace that no other process is in. There we check that it is the device
//! that we moved: if another device with this index has left the container's namespace before, it
//! is not.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::bail;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::spawn::with_namespaces_restored;
use crate::error::{AtKey, Cause, Context, Result};
use crate::plan::namespaces::NETWORK;
use crate::plan::net_devices::{NetDevicePlan, numbered};
use crate::sys::fd::FileId;
use crate::sys::netlink::{Address, DeviceChanges, Interface, Netlink};
use crate::sys::{Call, Named, clone, fd};

/// How many indices are tried to find a free one in another namespace, and how many names of a
/// template are looked up.
const TRIES: usize = 4096;

/// Devices that were moved. When this is dropped, they are moved back, unless they are kept.
#[derive(Debug, Default)]
pub struct MovedDevices(Option<Transfer>);

impl MovedDevices {
    /// Leaves the devices where they are.
    pub fn keep(&mut self) {
        if let Some(transfer) = &mut self.0 {
            transfer.devices.clear();
        }
    }
}

/// Two namespaces, and the devices that were moved from one to the other.
#[derive(Debug)]
struct Transfer {
    host: NetNamespace,
    container: NetNamespace,
    /// The devices that leave the container's namespace.
    departures: DeviceChanges,
    devices: Vec<MovedDevice>,
}

/// A network namespace. It exists at least as long as this value.
#[derive(Debug)]
struct NetNamespace {
    file: OwnedFd,
    netlink: Netlink,
}

/// A device, with its state on the host.
#[derive(Debug)]
struct MovedDevice {
    name: String,
    index: i32,
    up: bool,
    /// All addresses that were configured.
    addresses: Vec<Address>,
    /// Its name in the container.
    inside: String,
    /// Its index in the container, after it was moved.
    index_inside: Option<i32>,
}

/// Moves the devices of a plan into the namespace of the process `init`.
///
/// # Errors
/// The error of the failed call, with the place in config.json. All devices are then back on the
/// host.
pub fn move_in(plan: &[NetDevicePlan], init: i32) -> Result<MovedDevices> {
    move_those(plan, init, |_, _| Ok(true))
}

/// As [`move_in`], into a namespace that was joined when the container was saved: devices that are
/// already in it stay there.
///
/// # Errors
/// As [`move_in`].
pub fn move_in_missing(plan: &[NetDevicePlan], init: i32) -> Result<MovedDevices> {
    move_those(plan, init, |transfer, device| Ok(!transfer.is_there(device)?))
}

fn move_those(
    plan: &[NetDevicePlan],
    init: i32,
    is_due: impl Fn(&Transfer, &NetDevicePlan) -> Result<bool>,
) -> Result<MovedDevices> {
    if plan.is_empty() {
        return Ok(MovedDevices::default());
    }
    let mut transfer = Transfer::to_namespace_of(init).at("/linux/netDevices")?;
    let mut due = Vec::with_capacity(plan.len());
    for device in plan {
        if is_due(&transfer, device).at(&device.key)? {
            due.push(device);
        }
    }
    let mut prepared: Vec<MovedDevice> = Vec::with_capacity(due.len());
    for device in &due {
        let next = transfer.prepare(device, &prepared).at(&device.key)?;
        prepared.push(next);
    }
    for (device, prepared) in due.iter().zip(prepared) {
        transfer.bring_in(prepared).at(&device.key)?;
    }
    Ok(MovedDevices(Some(transfer)))
}

/// Checks that the host has the device.
///
/// # Errors
/// An error if it does not; the error of the failed call.
pub fn look_for(device: &NetDevicePlan) -> Result<()> {
    on_host(&Netlink::open()?, &device.name).map(drop)
}

fn on_host(host: &Netlink, name: &str) -> Result<Interface> {
    host.device(name)?
        .with_context(|| Cause::NoNetDevice.reason(format!("there is no network device {name:?}")))
}

impl Transfer {
    fn to_namespace_of(init: i32) -> Result<Self> {
        let host = NetNamespace { file: open_namespace("self")?, netlink: Netlink::open()? };
        let file = open_namespace(&init.to_string())?;
        let id = |file: &OwnedFd| {
            let stat = rustix::fs::fstat(file).named(|| "fstat()".to_owned())?;
            Ok::<_, Call>(FileId::from(stat))
        };
        if id(&host.file)? == id(&file)? {
            bail!(
                "unable to move network devices: the NET namespace that the container joins is the host's"
            );
        }
        let (netlink, departures) = with_namespaces_restored([&NETWORK].into_iter(), || {
            clone::setns(file.as_fd(), NETWORK.flag)?;
            Ok((Netlink::open()?, DeviceChanges::watch()?))
        })?;
        Ok(Self {
            host,
            container: NetNamespace { file, netlink },
            departures,
            devices: Vec::new(),
        })
    }

    /// Whether the container's namespace already has the device. For a template, the number is not
    /// known. So it has the device if the host does not, and if a device with a name of the
    /// template exists.
    fn is_there(&self, device: &NetDevicePlan) -> Result<bool> {
        let container = &self.container.netlink;
        if !device.inside.contains('%') {
            return Ok(container.device(&device.inside)?.is_some());
        }
        if self.host.netlink.device(&device.name)?.is_some() {
            return Ok(false);
        }
        for name in (0..).map_while(|number| numbered(&device.inside, number)).take(TRIES) {
            if container.device(&name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks a device and finds a free name for it, without changing anything. `others` are the
    /// devices that already have a name.
    fn prepare(&self, device: &NetDevicePlan, others: &[MovedDevice]) -> Result<MovedDevice> {
        let found = on_host(&self.host.netlink, &device.name)?;
        let inside = self.free_name(&device.inside, others)?;
        let mut addresses = self.host.netlink.addresses(found.index)?;
        addresses.retain(Address::is_permanent);
        let Interface { index, up } = found;
        Ok(MovedDevice {
            name: device.name.clone(),
            index,
            up,
            addresses,
            inside,
            index_inside: None,
        })
    }

    /// A name that is free in the container's namespace. The kernel would notice only after the
    /// move that a name is taken. For the same reason, the number of a template is chosen here.
    fn free_name(&self, wanted: &str, others: &[MovedDevice]) -> Result<String> {
        let is_free = |name: &str| {
            Ok::<_, Call>(
                others.iter().all(|other| other.inside != name)
                    && self.container.netlink.device(name)?.is_none(),
            )
        };
        if !wanted.contains('%') {
            if !is_free(wanted)? {
                bail!("a network device {wanted:?} exists in the container's namespace already");
            }
            return Ok(wanted.to_owned());
        }
        for name in (0..).map_while(|number| numbered(wanted, number)) {
            if is_free(&name)? {
                return Ok(name);
            }
        }
        bail!("no name of the form {wanted:?} is free in the container's namespace")
    }

    fn bring_in(&mut self, device: MovedDevice) -> Result<()> {
        let Self { host, container, devices, .. } = self;
        let device = devices.push_mut(device); // from here on, `drop` moves it back
        host.netlink.set_up(device.index, false)?;
        let index = host.move_to(device.index, container, &device.inside)?;
        device.index_inside = Some(index);
        // Addresses that are not valid everywhere belong to the network that the device leaves.
        container.settle(index, device.addresses.iter().filter(|address| address.is_global()), true)
    }

    /// Moves all devices back. Devices for which this fails stay where they are.
    fn bring_back(&self) -> Result<()> {
        let (inside, outside): (Vec<_>, Vec<_>) =
            self.devices.iter().rev().partition(|device| device.index_inside.is_some());
        for device in outside {
            report(device, self.host.settle(device.index, device.addresses.iter(), device.up));
        }
        if inside.is_empty() {
            return Ok(());
        }
        let transit = NetNamespace::new()?;
        let mut fetched = Vec::with_capacity(inside.len());
        for device in inside {
            let index = device.index_inside.unwrap_or_default();
            match self.container.move_to(index, &transit, &device.name) {
                Ok(in_transit) => fetched.push((device, index, in_transit)),
                Err(error) => report(device, Err(error)),
            }
        }
        let departures = self.departures.count();
        for (device, index, in_transit) in fetched {
            let known = departures.as_ref().map_err(|call| anyhow::anyhow!("{call}"));
            let result = match known.and_then(|departures| is_the_moved_one(departures, index)) {
                Ok(()) => self.return_to_host(device, in_transit, &transit),
                // It is another device, so it goes back to the container's namespace. If that
                // fails, the kernel decides what happens to it at the end of `transit`.
                Err(error) => {
                    let _ = transit.move_to(in_transit, &self.container, &device.inside);
                    Err(error)
                }
            };
            report(device, result);
        }
        Ok(())
    }

    fn return_to_host(
        &self,
        device: &MovedDevice,
        in_transit: i32,
        transit: &NetNamespace,
    ) -> Result<()> {
        let index = transit.move_to(in_transit, &self.host, &device.name)?;
        self.host.settle(index, device.addresses.iter(), device.up)
    }
}

/// Checks that only one device with this index has left the container's namespace: the one that we
/// moved.
fn is_the_moved_one(departures: &BTreeMap<i32, usize>, index: i32) -> Result<()> {
    match departures.get(&index) {
        Some(1) => Ok(()),
        _ => bail!("another one has taken its place in the container's namespace"),
    }
}

/// Warns about a device that could not be moved back.
fn report(device: &MovedDevice, result: Result<()>) {
    // The caller already returns an error, and that one matters more than this one.
    if let Err(error) = result {
        log::warn!(
            "the network device {:?} is not brought back to the host: {error:#}",
            device.name
        );
    }
}

impl NetNamespace {
    /// Creates a namespace that no other process is in.
    fn new() -> Result<Self> {
        with_namespaces_restored([&NETWORK].into_iter(), || {
            clone::unshare(NETWORK.flag)?;
            Ok(Self { file: open_namespace("thread-self")?, netlink: Netlink::open()? })
        })
    }

    /// Moves a device to the namespace `to`, with the given name, and returns its index there. The
    /// kernel gives no device an index that is taken, so the index belongs to this device alone.
    fn move_to(&self, index: i32, to: &Self, name: &str) -> Result<i32> {
        let mut tries = (index.max(1)..).take(TRIES);
        loop {
            let wanted = tries.next().context("no index is free for the network device")?;
            match self.netlink.move_to(index, to.file.as_fd(), name, wanted) {
                Err(call) if call.is(Errno::BUSY) => {}
                moved => return Ok(moved.map(|()| wanted)?),
            }
        }
    }

    /// Adds the addresses of a device that was just moved. (IPv6 addresses can also be lost because
    /// the device was down.)
    fn settle<'a>(
        &self,
        index: i32,
        addresses: impl Iterator<Item = &'a Address>,
        up: bool,
    ) -> Result<()> {
        for address in addresses {
            self.netlink.add_address(index, address)?;
        }
        if up {
            self.netlink.set_up(index, true)?;
        }
        Ok(())
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Err(error) = self.bring_back() {
            log::warn!("network devices are not brought back to the host: {error:#}");
        }
    }
}

fn open_namespace(process: &str) -> Result<OwnedFd, Call> {
    fd::open(format!("/proc/{process}/ns/net").as_ref(), OFlags::RDONLY)
}
