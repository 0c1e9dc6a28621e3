//! A connection to systemd: over a message bus, or, without one, over systemd's own socket.
//!
//! This file and `message.rs` are a client of our own. We use no library: zbus 6 was measured here
//! (2026-11, the release profile, static). It makes the binary 0.9 MB larger (of 3.2), takes 45 s
//! of compile time on two cores, and adds 37 crates. It gives a connection that outlives a
//! `block_on` to a helper thread, but we fork ([`crate::sys::clone::SingleThreaded`]). And a bound
//! on the wait for a signal needs its runtime as a further crate. Our client is a blocking socket
//! with a time limit, and creates no thread.
//!
//! It is opened when it is needed, after the container's init was made, so init has no copy of it.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Cause, Context, Failure, Result};
use crate::plan::systemd::value::PropertyValue;
use crate::sys::socket;
use crate::sys::wait::{self, Bound};
use anyhow::{anyhow, bail};

use super::message::{self, BusMethod, FIXED, Incoming, MessageType};

/// How long systemd may take (runc's limit for the start of a unit).
const PATIENCE: Duration = Duration::from_secs(30);

/// systemd's name on a bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// systemd's manager object.
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// Its interface.
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A connection. All its methods together wait for at most [`PATIENCE`].
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    /// Whether the connection is to a bus.
    has_bus: bool,
    serial: u32,
    deadline: Instant,
    /// Signals that arrived while we waited for an answer.
    signals: Vec<(String, Vec<PropertyValue>)>,
}

/// An error that systemd returned.
#[derive(Debug)]
pub(super) struct Refusal {
    /// For example, `org.freedesktop.systemd1.NoSuchUnit`.
    pub(super) name: String,
    /// The explanation.
    pub(super) text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.name)
    }
}

impl std::error::Error for Refusal {}

impl Bus {
    /// Connects to the system's systemd, or to that of the user.
    pub(super) fn connect(user: bool) -> Result<Self> {
        if user { Self::user() } else { Self::system() }
    }

    fn system() -> Result<Self> {
        let address =
            env::var("DBUS_SYSTEM_BUS_ADDRESS").ok().filter(|address| !address.is_empty());
        let address = address.as_deref().unwrap_or("unix:path=/run/dbus/system_bus_socket");
        match Self::open(address, true) {
            Err(_) if rustix::process::geteuid().is_root() => {
                Self::open("unix:path=/run/systemd/private", false)
            }
            result => result,
        }
        .context("connecting to systemd: is it running?")
    }

    fn user() -> Result<Self> {
        let directory = env::var_os("XDG_RUNTIME_DIR")
            .filter(|directory| !directory.is_empty())
            .map(PathBuf::from);
        let address =
            env::var("DBUS_SESSION_BUS_ADDRESS").ok().filter(|address| !address.is_empty());
        let socket = |name: &str| {
            directory
                .as_ref()
                .map(|directory| format!("unix:path={}", escape(&directory.join(name))))
        };
        let first = match address.or_else(|| socket("bus")) {
            Some(address) => Self::open(&address, true),
            None => Err(anyhow!("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")),
        };
        match (first, socket("systemd/private")) {
            (Err(error), Some(private)) => Self::open(&private, false).map_err(|_| error),
            (first, _) => first,
        }
        .context(Failure::Unsupported(
            Cause::NoUserSystemd.reason("cannot reach the user's systemd"),
        ))
    }

    /// Connects to the first of the addresses that works, and authenticates.
    fn open(addresses: &str, has_bus: bool) -> Result<Self> {
        let mut result = Err(anyhow!("{addresses:?} names no socket"));
        for address in addresses.split(';') {
            match dial(address) {
                Ok(stream) => {
                    let deadline = Instant::now() + PATIENCE;
                    let mut bus =
                        Self { stream, has_bus, serial: 0, deadline, signals: Vec::new() };
                    bus.authenticate().with_context(|| address.to_owned())?;
                    return Ok(bus);
                }
                Err(error) => result = Err(error).with_context(|| address.to_owned()),
            }
        }
        result
    }

    /// The mechanism EXTERNAL without a user id: the other side uses the id that the kernel
    /// reports, which is right in a user namespace as well.
    fn authenticate(&mut self) -> Result<()> {
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\n")?;
        loop {
            let line = self.line()?;
            match line.split_whitespace().next() {
                Some("DATA") => {}
                Some("OK") => break,
                _ => bail!("it does not let us in: {line}"),
            }
        }
        self.write(b"BEGIN\r\n")?;
        if self.has_bus {
            self.bus("Hello", &[])?;
        }
        Ok(())
    }

    /// Subscribes to a signal of systemd's manager.
    pub(super) fn listen(&mut self, signal: &str) -> Result<()> {
        if !self.has_bus {
            return Ok(()); // without a bus, all signals are sent
        }
        let rule = format!(
            "type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',interface='{MANAGER}',member='{signal}'"
        );
        self.bus("AddMatch", &[PropertyValue::Text(rule)])?;
        Ok(())
    }

    /// Calls a method of systemd's manager, and returns the result.
    pub(super) fn manager(
        &mut self,
        member: &'static str,
        arguments: &[PropertyValue],
    ) -> Result<Vec<PropertyValue>> {
        self.systemd(MANAGER, member, arguments)
    }

    /// A text property of systemd's manager.
    pub(super) fn manager_text(&mut self, property: &str) -> Result<String> {
        const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
        let found = self.systemd(
            PROPERTIES,
            "Get",
            &[PropertyValue::text(MANAGER), PropertyValue::text(property)],
        )?;
        match <[PropertyValue; 1]>::try_from(found) {
            Ok([PropertyValue::Variant(value)]) => match *value {
                PropertyValue::Text(text) => Ok(text),
                other => bail!("systemd's {property} is {other:?}"),
            },
            other => bail!("systemd's {property} is {other:?}"),
        }
    }

    fn systemd(
        &mut self,
        interface: &'static str,
        member: &'static str,
        arguments: &[PropertyValue],
    ) -> Result<Vec<PropertyValue>> {
        let destination = self.has_bus.then_some(SYSTEMD);
        self.call(BusMethod { destination, path: MANAGER_PATH, interface, member }, arguments)
    }

    fn bus(
        &mut self,
        member: &'static str,
        arguments: &[PropertyValue],
    ) -> Result<Vec<PropertyValue>> {
        const BUS: &str = "org.freedesktop.DBus";
        let method = BusMethod {
            destination: Some(BUS),
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
        };
        self.call(method, arguments)
    }

    fn call(
        &mut self,
        method: BusMethod,
        arguments: &[PropertyValue],
    ) -> Result<Vec<PropertyValue>> {
        self.serial += 1;
        let serial = self.serial;
        let name = method.member;
        self.write(&message::call(method, serial, arguments)).context(name)?;
        loop {
            let message = self.receive().context(name)?;
            match message.kind {
                MessageType::Reply(to) if to == serial => return Ok(message.body),
                MessageType::Failed(to, error) if to == serial => {
                    let text = match message.body.into_iter().next() {
                        Some(PropertyValue::Text(text)) => text,
                        _ => String::new(),
                    };
                    return Err(anyhow!(Refusal { name: error, text }).context(name));
                }
                MessageType::Signal(name) => self.signals.push((name, message.body)),
                _ => {}
            }
        }
    }

    /// Waits for a signal for which `wanted` returns a value.
    pub(super) fn wait<T>(
        &mut self,
        mut wanted: impl FnMut(&str, &[PropertyValue]) -> Option<T>,
    ) -> Result<T> {
        for (name, body) in std::mem::take(&mut self.signals) {
            if let Some(found) = wanted(&name, &body) {
                return Ok(found);
            }
        }
        loop {
            let message = self.receive()?;
            if let MessageType::Signal(name) = &message.kind
                && let Some(found) = wanted(name, &message.body)
            {
                return Ok(found);
            }
        }
    }

    fn receive(&mut self) -> Result<Incoming> {
        let mut bytes = vec![0; FIXED];
        self.read(&mut bytes)?;
        let length = message::length(&bytes).ok_or_else(no_message)?;
        bytes.resize(length, 0);
        let (_, rest) = bytes.split_at_mut(FIXED);
        self.read(rest)?;
        message::read(&bytes).ok_or_else(no_message)
    }

    /// A line of the authentication. What follows the line must not be read here.
    fn line(&mut self) -> Result<String> {
        const LONGEST: usize = 1024;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < LONGEST {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            if !wait::readable(self.stream.as_fd(), Bound::Until(self.deadline))? {
                return Err(too_late());
            }
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => bail!("systemd, or the bus, has closed the connection"),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading from systemd"),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        socket::send_all(&self.stream, bytes, None, Bound::Until(self.deadline))
            .context("writing to systemd")
    }
}

fn too_late() -> anyhow::Error {
    anyhow!("systemd has not answered for {} seconds", PATIENCE.as_secs())
}

fn no_message() -> anyhow::Error {
    anyhow!("systemd, or the bus, sent what is no message of D-Bus")
}

/// Connects to an address such as `unix:path=/run/dbus/system_bus_socket,guid=…`.
fn dial(address: &str) -> Result<UnixStream> {
    let Some(options) = address.strip_prefix("unix:") else {
        return Err(
            Failure::Unsupported("only addresses that begin with unix: are known".into()).into()
        );
    };
    let mut socket = None;
    for (key, value) in options.split(',').filter_map(|option| option.split_once('=')) {
        let value = || unescape(value).ok_or_else(|| anyhow!("the address has a bad escape"));
        match key {
            "path" => socket = Some(value()?),
            "abstract" => {
                let mut name = OsString::from("@");
                name.push(value()?);
                socket = Some(name);
            }
            _ => {}
        }
    }
    let socket = socket.ok_or_else(|| anyhow!("the address has neither path= nor abstract="))?;
    Ok(socket::call(&socket, PATIENCE)?.into())
}

/// Escapes a path for an address.
fn escape(path: &std::path::Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(
            |&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") },
        )
        .collect()
}

/// Undoes escapes such as `%20`.
fn unescape(value: &str) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) =
            (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn addresses_have_escapes() {
        assert_eq!(escape("/run/a b,c".as_ref()), "/run/a%20b%2cc");
        assert_eq!(unescape("/run/a%20b%2Cc").expect("valid"), "/run/a b,c");
        assert_eq!(unescape("%2"), None);
        assert_eq!(unescape("%zz"), None);
    }
}
