//! Moves network devices into the container's network namespace, with their addresses, and up.
//! config.json: linux.netDevices
//! process: runtime
//!
//! All is looked at before anything is moved, and a `create` that fails brings back what it has moved, as it was: else a
//! failure would take a veth away for good, with the namespace that it is in. Once the container is there the devices
//! are its namespace's own, and what becomes of them at the end is the kernel's to decide, as the specification demands.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::bail;
use rustix::fs::OFlags;

use super::spawn::visiting;
use crate::error::{AtKey, Context, Result};
use crate::plan::namespaces::NETWORK;
use crate::plan::net_devices::{NetDevice, numbered};
use crate::sys::netlink::{Address, Device, Netlink};
use crate::sys::{Call, Named, clone, fd};

/// Devices that have been moved; they come back when this is dropped, unless they are kept.
#[derive(Debug, Default)]
pub struct Moved(Option<Journey>);

impl Moved {
    /// Leaves them where they are.
    pub fn keep(&mut self) {
        if let Some(journey) = &mut self.0 {
            journey.devices.clear();
        }
    }
}

/// Two namespaces, and what has gone from one to the other.
#[derive(Debug)]
struct Journey {
    host: Side,
    container: Side,
    devices: Vec<Traveller>,
}

/// A network namespace, which stays while this is there.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    netlink: Netlink,
}

/// A device, as it was on the host.
#[derive(Debug)]
struct Traveller {
    name: String,
    index: i32,
    up: bool,
    /// All that were configured.
    addresses: Vec<Address>,
    /// Its name in the container.
    inside: String,
}

/// Moves the devices of a plan into the namespace of the process `init`.
///
/// # Errors
/// The failed call's, with the place in config.json; then all are where they were.
pub fn move_in(plan: &[NetDevice], init: i32) -> Result<Moved> {
    if plan.is_empty() {
        return Ok(Moved::default());
    }
    let mut journey = Journey::between_us_and(init).at("/linux/netDevices")?;
    let mut travellers: Vec<Traveller> = Vec::with_capacity(plan.len());
    for device in plan {
        let traveller = journey.prepare(device, &travellers).at(&device.key)?;
        travellers.push(traveller);
    }
    for (device, traveller) in plan.iter().zip(travellers) {
        journey.bring_in(traveller).at(&device.key)?;
    }
    Ok(Moved(Some(journey)))
}

/// Whether the host has the device.
///
/// # Errors
/// When it has not; the failed call's.
pub fn look_for(device: &NetDevice) -> Result<()> {
    on_host(&Netlink::open()?, &device.name).map(drop)
}

fn on_host(host: &Netlink, name: &str) -> Result<Device> {
    host.device(name)?.with_context(|| format!("there is no network device {name:?}"))
}

impl Journey {
    fn between_us_and(init: i32) -> Result<Self> {
        let host = Side { namespace: open_namespace("self")?, netlink: Netlink::open()? };
        let namespace = open_namespace(&init.to_string())?;
        let id = |file: &OwnedFd| {
            let stat = rustix::fs::fstat(file).named(|| "fstat()".to_owned())?;
            Ok::<_, Call>((stat.st_dev, stat.st_ino))
        };
        if id(&host.namespace)? == id(&namespace)? {
            bail!("unable to move network devices: the NET namespace that the container joins is the host's");
        }
        let netlink = visiting([&NETWORK].into_iter(), || {
            clone::setns(namespace.as_fd(), NETWORK.flag)?;
            Ok(Netlink::open()?)
        })?;
        Ok(Self { host, container: Side { namespace, netlink }, devices: Vec::new() })
    }

    /// Looks at a device, and whether its name is free; changes nothing. `others` have theirs.
    fn prepare(&self, device: &NetDevice, others: &[Traveller]) -> Result<Traveller> {
        let name = &device.name;
        let found = on_host(&self.host.netlink, name)?;
        let inside = self.free_name(&device.inside, others)?;
        let mut addresses = self.host.netlink.addresses(found.index)?;
        addresses.retain(Address::is_permanent);
        Ok(Traveller { name: name.clone(), index: found.index, up: found.up, addresses, inside })
    }

    /// The kernel would only see when the device has moved already that its name there is taken; so the number for a
    /// template is found here, too.
    fn free_name(&self, wanted: &str, others: &[Traveller]) -> Result<String> {
        let is_free = |name: &str| {
            Ok::<_, Call>(
                others.iter().all(|other| other.inside != name) && self.container.netlink.device(name)?.is_none(),
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

    fn bring_in(&mut self, traveller: Traveller) -> Result<()> {
        self.devices.push(traveller);
        let Some(traveller) = self.devices.last() else { return Ok(()) };
        let Traveller { index, inside, .. } = traveller;
        // Addresses that are not valid everywhere belong to the place that the device leaves.
        let addresses = traveller.addresses.iter().filter(|address| address.is_global());
        self.host.netlink.set_up(*index, false)?;
        self.host.netlink.move_to(*index, self.container.namespace.as_fd(), inside)?;
        self.container.settle(inside, addresses, true)
    }

    fn bring_back(&self, traveller: &Traveller) -> Result<()> {
        let Traveller { name, inside, addresses, up, .. } = traveller;
        if let Some(there) = self.container.netlink.device(inside)? {
            self.container.netlink.set_up(there.index, false)?;
            self.container.netlink.move_to(there.index, self.host.namespace.as_fd(), name)?;
        }
        self.host.settle(name, addresses.iter(), *up)
    }
}

impl Side {
    /// Gives a device that has just come its addresses. An IPv6 one may have lost them by being down, too.
    fn settle<'a>(&self, name: &str, addresses: impl Iterator<Item = &'a Address>, up: bool) -> Result<()> {
        let device = self.netlink.device(name)?.with_context(|| format!("the network device {name:?} is gone"))?;
        for address in addresses {
            self.netlink.add_address(device.index, address)?;
        }
        if up {
            self.netlink.set_up(device.index, true)?;
        }
        Ok(())
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        for traveller in self.devices.iter().rev() {
            // There is an error on its way already, which matters more than this one.
            let _ = self.bring_back(traveller);
        }
    }
}

fn open_namespace(process: &str) -> Result<OwnedFd, Call> {
    fd::open(format!("/proc/{process}/ns/net").as_ref(), OFlags::RDONLY)
}
