//! The container's unit of systemd: made with its first process in it, changed, stopped.
//! config.json: linux.cgroupsPath, linux.resources
//!
//! **The order.** systemd makes a scope only for a process that exists, and moves that process into
//! the scope's cgroup. So init is created in the cgroup of the runtime, and the scope is made for
//! it, while init waits for the first message from the runtime. Init makes its cgroup namespace
//! after that. (With a bootstrap, the scope is made for the bootstrap, and init is its child.) The
//! other order would be a scope for some other process, with init created in its cgroup by
//! `CLONE_INTO_CGROUP`. That costs one more process, and the kernel forbids it to an ordinary user:
//! his session and his systemd are in cgroups whose common parent is not his. Our order also keeps
//! the connection to systemd out of init.
//!
//! All limits that systemd supports are set with the start of the unit, in one call. runc needs
//! two.

mod bus;
mod message;

use std::path::Path;

use anyhow::anyhow;

use crate::error::{AtKey, Cause, Context, Failure, Result};
use crate::plan::systemd::properties::Property;
use crate::plan::systemd::value::PropertyValue;
use crate::plan::systemd::{Manager, Unit, UnitPlan};

use bus::{Bus, Refusal};

/// The systemd for cgroups: the system's, or, for an ordinary user, the user's.
///
/// # Errors
/// [`Failure::Unsupported`] if systemd does not run here, or if the user's systemd cannot be
/// reached; an error if it does not report its cgroup.
pub fn manager(rootless: bool) -> Result<Manager> {
    if !Path::new("/run/systemd/system").is_dir() {
        let text = "systemd not running on this host, cannot use systemd cgroups manager";
        return Err(Failure::Unsupported(Cause::NoSystemd.reason(text)).into());
    }
    if !rootless {
        return Ok(Manager::System);
    }
    let cgroup = Bus::connect(true)?
        .manager_text("ControlGroup")
        .context("asking the user's systemd for its cgroup")?;
    Ok(Manager::User { cgroup })
}

/// Makes the unit with the process `pid`, and waits until it exists.
pub(super) fn start(plan: &UnitPlan, pid: i32) -> Result<()> {
    let mut bus = Bus::connect(plan.unit.user)?;
    let pids =
        PropertyValue::Array("u".to_owned(), vec![PropertyValue::Uint32(pid.unsigned_abs())]);
    let mut properties = known(&mut bus, &plan.properties)?;
    properties.push(property("PIDs", pids));
    let name = &plan.unit.name;
    let arguments = [
        PropertyValue::text(name),
        PropertyValue::text("replace"),
        PropertyValue::Array("(sv)".to_owned(), properties),
        PropertyValue::Array("(sa(sv))".to_owned(), Vec::new()),
    ];
    bus.listen("JobRemoved")?;
    let started = start_transient(&arguments, |member, arguments| bus.manager(member, arguments));
    let job = started
        .with_context(|| format!("unable to start unit {name:?}"))
        .at("/linux/cgroupsPath")?;
    let failed = match done(&mut bus, &job) {
        Ok(result) if result == "done" => return Ok(()),
        Ok(result) => anyhow!("error creating systemd unit `{name}`: got `{result}`"),
        Err(error) => error.context(format!("waiting for systemd to create unit {name:?}")),
    };
    // The unit may exist all the same, or be made later.
    drop(stop(&plan.unit));
    Err(failed)
}

/// `call` calls a method of systemd's manager.
fn start_transient(
    arguments: &[PropertyValue; 4],
    mut call: impl FnMut(&'static str, &[PropertyValue]) -> Result<Vec<PropertyValue>>,
) -> Result<Vec<PropertyValue>> {
    match call("StartTransientUnit", arguments) {
        // A failed unit may be left from before. It is not in use, so systemd may forget it. If
        // that is an error, the unit may be gone by now.
        Err(error) if is(&error, "UnitExists") => {
            drop(call("ResetFailedUnit", &arguments[..1]));
            call("StartTransientUnit", arguments)
        }
        other => other,
    }
}

/// Sets properties of an existing unit.
pub(super) fn set(unit: &Unit, properties: &[Property]) -> Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    let mut bus = Bus::connect(unit.user)?;
    let properties = PropertyValue::Array("(sv)".to_owned(), known(&mut bus, properties)?);
    bus.manager(
        "SetUnitProperties",
        &[PropertyValue::text(&unit.name), PropertyValue::Bool(true), properties],
    )
    .context("unable to set unit properties")?;
    Ok(())
}

/// Moves a process into `cgroup`, which is the unit's cgroup or below it.
pub(super) fn attach(unit: &Unit, cgroup: &Path, pid: i32) -> Result<()> {
    let mut parts = cgroup.components();
    parts.find(|part| part.as_os_str() == unit.name.as_str());
    let below = parts.as_path().to_string_lossy();
    let pids =
        PropertyValue::Array("u".to_owned(), vec![PropertyValue::Uint32(pid.unsigned_abs())]);
    let arguments =
        [PropertyValue::text(&unit.name), PropertyValue::Text(format!("/{below}")), pids];
    Bus::connect(unit.user)?.manager("AttachProcessesToUnit", &arguments)?;
    Ok(())
}

/// Stops the unit, which should have no processes any more, and makes systemd forget it. A unit
/// that does not exist is not an error.
pub(super) fn stop(unit: &Unit) -> Result<()> {
    let mut bus = Bus::connect(unit.user)?;
    bus.listen("JobRemoved")?;
    let result = match bus
        .manager("StopUnit", &[PropertyValue::text(&unit.name), PropertyValue::text("replace")])
    {
        Err(error) if is(&error, "NoSuchUnit") => return Ok(()),
        Err(error) => Err(error),
        Ok(job) => done(&mut bus, &job).map(drop),
    };
    // The unit may have failed. systemd keeps failed units for inspection.
    reset(&mut bus, &unit.name);
    result.with_context(|| format!("stopping the unit {:?}", unit.name))
}

fn reset(bus: &mut Bus, name: &str) {
    // In most cases the unit has not failed, and this returns an error.
    drop(bus.manager("ResetFailedUnit", &[PropertyValue::text(name)]));
}

/// The result of a job: `done`, `failed`, …
fn done(bus: &mut Bus, job: &[PropertyValue]) -> Result<String> {
    let [job @ PropertyValue::Path(_)] = job else {
        return Err(anyhow!("systemd gave no job, but {job:?}"));
    };
    bus.wait(|signal, body| match (signal, body) {
        ("JobRemoved", [_, path, _, PropertyValue::Text(result)]) if path == job => {
            Some(result.clone())
        }
        _ => None,
    })
}

/// The properties that this version of systemd supports. The version is only read if it matters.
fn known(bus: &mut Bus, properties: &[Property]) -> Result<Vec<PropertyValue>> {
    let version = match properties.iter().any(|property| property.since > 0) {
        true => version(&bus.manager_text("Version")?),
        false => 0,
    };
    let known = properties.iter().filter(|property| property.since <= version);
    Ok(known.map(|known| property(&known.name, known.value.clone())).collect())
}

/// Parses `257.9-1~deb13u1` or `v245.4`.
fn version(text: &str) -> u32 {
    let digits = text.trim_start_matches(['v', '"']);
    digits
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn property(name: &str, value: PropertyValue) -> PropertyValue {
    PropertyValue::Struct(vec![PropertyValue::text(name), PropertyValue::Variant(Box::new(value))])
}

/// Whether systemd returned this error.
fn is(error: &anyhow::Error, name: &str) -> bool {
    error
        .downcast_ref::<Refusal>()
        .is_some_and(|refusal| refusal.name.ends_with(&format!(".{name}")))
}

/// Reads a message from systemd, with the length in its header.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(whole) = message::length(bytes).and_then(|length| bytes.get(..length)) {
        message::read(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::{PropertyValue, Refusal, start_transient};

    fn refusal(name: &str) -> anyhow::Error {
        Refusal { name: format!("org.freedesktop.systemd1.{name}"), text: String::new() }.into()
    }

    #[test]
    fn a_name_that_is_taken_is_tried_once_more() {
        let arguments = ["box.scope", "replace", "", ""].map(PropertyValue::text);
        for (first, reset, second, calls) in [
            (None, None, None, 1),
            (Some("NoSuchUnit"), None, None, 1),
            (Some("UnitExists"), None, None, 3),
            (Some("UnitExists"), Some("NoSuchUnit"), None, 3),
            (Some("UnitExists"), Some("NoSuchUnit"), Some("UnitExists"), 3),
        ] {
            let mut answers = [
                ("StartTransientUnit", first),
                ("ResetFailedUnit", reset),
                ("StartTransientUnit", second),
            ]
            .into_iter()
            .enumerate();
            let mut called = 0;
            let result = start_transient(&arguments, |member, given| {
                let (number, (expected, error)) = answers.next().expect("no more calls");
                called = number + 1;
                assert_eq!((member, &given[0]), (expected, &arguments[0]));
                error.map_or(Ok(Vec::new()), |error| Err(refusal(error)))
            });
            let is_fine = if calls == 1 { first.is_none() } else { second.is_none() };
            assert_eq!(
                (called, result.is_ok()),
                (calls, is_fine),
                "{first:?} {reset:?} {second:?}"
            );
        }
    }

    #[test]
    fn versions_begin_with_a_number() {
        for (text, number) in
            [("257.9-1~deb13u1", 257), ("v245.4-1.fc32", 245), ("245", 245), ("", 0)]
        {
            assert_eq!(super::version(text), number);
        }
    }
}
