//! The systemd unit of the container, if systemd creates its cgroup (`--systemd-cgroup`).
//!
//! `linux.cgroupsPath` is then `slice:prefix:name`, as in runc, and names a scope,
//! `prefix-name.scope`. A name that ends in `.slice` is refused, since a slice cannot have
//! processes. The limits become properties of the unit ([`properties`]). Otherwise systemd would
//! overwrite them with its own values, as at `systemctl daemon-reload`. Annotations
//! `org.systemd.property.NAME` add properties, in the text form of GVariant.

pub mod properties;
mod text;
pub mod value;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Map, Text};

use super::Problems;
use super::annotations::SYSTEMD_PROPERTY;
use properties::Property;
use value::PropertyValue;

/// The instance of systemd that creates cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manager {
    /// The instance of the system.
    System,
    /// The instance of an ordinary user.
    User {
        /// Its own cgroup, from the root of the hierarchy:
        /// `/user.slice/user-1000.slice/user@1000.service`.
        cgroup: String,
    },
}

/// The data in state.json by which the unit is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Whether it belongs to the user's instance of systemd.
    pub user: bool,
}

/// The unit to create.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitPlan {
    /// Its name, and the instance of systemd.
    pub unit: Unit,
    /// Its properties, in this order. `PIDs` is not among them.
    pub properties: Vec<Property>,
    /// Its cgroup, if the container's is a different one below it.
    pub above: Option<PathBuf>,
}

const KEY: &str = "/linux/cgroupsPath";

/// The parts of `linux.cgroupsPath`, checked.
pub(super) struct CgroupsPath<'a> {
    slice: Cow<'a, str>,
    /// The unit's name.
    unit: String,
    /// The last part, or the container's id.
    name: &'a str,
}

impl<'a> CgroupsPath<'a> {
    /// Reads `linux.cgroupsPath`. An invalid one is reported, and the default is used.
    pub(super) fn decide(
        cgroups_path: &'a str,
        id: &'a str,
        manager: &Manager,
        problems: &mut Problems,
    ) -> Self {
        let default_slice = match manager {
            Manager::System => "system.slice",
            Manager::User { .. } => "user.slice",
        };
        let default = ("", "runc", id);
        let parts: Vec<&str> = cgroups_path.split(':').collect();
        let (slice, prefix, name) = match *parts {
            _ if cgroups_path.is_empty() => default,
            [slice, prefix, name] => (slice, prefix, name),
            _ => {
                let text = format_args!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \
                     {cgroups_path:?} instead"
                );
                problems.add(KEY, text);
                default
            }
        };
        let slice = if slice.is_empty() { default_slice } else { slice };
        let unit = format!("{prefix}-{name}.scope");
        if expand(slice).is_none() {
            problems.add(KEY, format_args!("invalid slice name: {slice}"));
        }
        if name.ends_with(".slice") {
            problems
                .add(KEY, format_args!("{name} is a slice, in which systemd lets no process be"));
        } else if !is_unit_name(&unit) {
            problems.add(KEY, format_args!("{unit:?} cannot be the name of a unit"));
        }
        Self { slice: slice.into(), unit, name }
    }

    /// The cgroup of the unit, from the root of the hierarchy, without a leading slash.
    pub(super) fn path(&self, manager: &Manager) -> String {
        let base = match manager {
            Manager::System => "",
            Manager::User { cgroup } => cgroup.trim_matches('/'),
        };
        let slice = expand(&self.slice).unwrap_or_default();
        let parts = [base, &slice, &self.unit];
        parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
    }

    /// The unit; `resources` are the properties of its limits.
    pub(super) fn unit(
        self,
        manager: &Manager,
        annotations: &Map<'_, Text<'_>>,
        resources: Vec<Property>,
        problems: &mut Problems,
    ) -> UnitPlan {
        let yes = |name: &'static str| Property::new(name, PropertyValue::Bool(true));
        let mut properties = vec![
            Property::new(
                "Description",
                PropertyValue::Text(format!("libcontainer container {}", self.name)),
            ),
            Property::new("Slice", PropertyValue::Text(self.slice.into_owned())),
            // The cgroups below belong to the container. systemd must not change them.
            yes("Delegate"),
            yes("MemoryAccounting"),
            yes("CPUAccounting"),
            yes("IOAccounting"),
            yes("TasksAccounting"),
            // With the default dependencies systemd would stop the unit and order it after other
            // units, as a service.
            Property::new("DefaultDependencies", PropertyValue::Bool(false)),
        ];
        for (key, text) in annotations.iter() {
            if let Some(name) = key.strip_prefix(SYSTEMD_PROPERTY) {
                match annotation(name, text) {
                    Ok(property) => properties.push(property),
                    Err(what) => {
                        let key =
                            format!("/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
                        problems.add(key, what);
                    }
                }
            }
        }
        properties.extend(resources);
        UnitPlan {
            unit: Unit { name: self.unit, user: *manager != Manager::System },
            properties,
            above: None,
        }
    }
}

/// The cgroup of a slice. A name with dashes includes the slices above: `a-b.slice` is in
/// `a.slice/a-b.slice`. `None` if the name is not that of a slice.
fn expand(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    if !is_unit_name(slice) || name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    let slices: Vec<String> = ends.map(|end| format!("{}.slice", &name[..end])).collect();
    Some(slices.join("/"))
}

/// The rule of systemd.unit(5) for names. The name is also a part of the cgroup's path.
fn is_unit_name(name: &str) -> bool {
    let valid =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    name.len() < 256 && name.chars().all(valid) && Path::new(name).file_name().is_some()
}

/// The property that an annotation sets. A name in seconds, as unit files have it, becomes the
/// property in microseconds: `TimeoutStopSec` becomes `TimeoutStopUSec`.
fn annotation(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is not the name of a property: three letters or more"));
    }
    let value = text::parse(text).map_err(|what| format!("{text:?} {what}"))?;
    let seconds =
        name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
    match seconds {
        Some(stem) => Ok(Property::new(format!("{stem}USec"), microseconds(&value, text)?)),
        None => Ok(Property::new(name.to_owned(), value)),
    }
}

fn microseconds(value: &PropertyValue, text: &str) -> Result<PropertyValue, String> {
    const SECOND: u64 = 1_000_000;
    let whole = match *value {
        PropertyValue::Byte(number) => Some(number.into()),
        PropertyValue::Int16(number) => u64::try_from(number).ok(),
        PropertyValue::Uint16(number) => Some(number.into()),
        PropertyValue::Int32(number) => u64::try_from(number).ok(),
        PropertyValue::Uint32(number) => Some(number.into()),
        PropertyValue::Int64(number) => u64::try_from(number).ok(),
        PropertyValue::Uint64(number) => Some(number),
        PropertyValue::Double(number) => {
            return std::time::Duration::try_from_secs_f64(number)
                .ok()
                .and_then(|time| u64::try_from(time.as_micros()).ok())
                .map(PropertyValue::Uint64)
                .ok_or_else(|| format!("{text} is no number of seconds"));
        }
        _ => None,
    };
    let whole = whole.and_then(|seconds| seconds.checked_mul(SECOND));
    whole.map(PropertyValue::Uint64).ok_or_else(|| format!("{text} is no number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::{CgroupsPath, Manager, Problems, annotation, expand};
    use crate::plan::systemd::value::PropertyValue;

    #[test]
    fn a_slice_is_below_those_that_its_name_begins_with() {
        for (slice, path) in [
            ("a.slice", Some("a.slice")),
            ("a-b-c.slice", Some("a.slice/a-b.slice/a-b-c.slice")),
            ("-.slice", Some("")),
            (".slice", None),
            ("-a.slice", None),
            ("a--b.slice", None),
            ("a-.slice", None),
            ("a/b.slice", None),
            ("a.scope", None),
            ("", None),
        ] {
            assert_eq!(expand(slice).as_deref(), path, "{slice}");
        }
    }

    #[test]
    fn a_cgroups_path_names_a_scope() {
        let user = Manager::User { cgroup: "/user.slice/user-7.slice/user@7.service".into() };
        for (path, manager, expected) in [
            ("", &Manager::System, "system.slice/runc-web.scope"),
            ("a-b.slice:docker:12", &Manager::System, "a.slice/a-b.slice/docker-12.scope"),
            ("-.slice:docker:12", &Manager::System, "docker-12.scope"),
            (":docker:12", &Manager::System, "system.slice/docker-12.scope"),
            ("", &user, "user.slice/user-7.slice/user@7.service/user.slice/runc-web.scope"),
        ] {
            let mut problems = Problems::default();
            assert_eq!(
                CgroupsPath::decide(path, "web", manager, &mut problems).path(manager),
                expected,
                "{path}"
            );
            assert!(problems.found().is_empty());
        }
    }

    #[test]
    fn a_path_that_names_none_is_a_problem() {
        let wrong = "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead";
        for (path, text) in [
            ("/a/b", wrong),
            ("a:b", "slice:prefix:name"),
            ("a.slice:b:c:d", "slice:prefix:name"),
            ("a:b:c", "invalid slice name: a"),
            ("a.slice:b:c/d", "cannot be the name of a unit"),
            ("a.slice:b:c\n", "cannot be the name of a unit"),
            ("a.slice::c.slice", "is a slice"),
        ] {
            let mut problems = Problems::default();
            CgroupsPath::decide(path, "web", &Manager::System, &mut problems);
            let found = problems.found();
            assert!(found.len() == 1 && found[0].text.contains(text), "{path:?}: {found:?}");
        }
    }

    #[test]
    fn annotations_are_properties() {
        for (name, text, property, value) in [
            (
                "TimeoutStopUSec",
                "uint64 123456789",
                "TimeoutStopUSec",
                PropertyValue::Uint64(123_456_789),
            ),
            ("TimeoutStopSec", "456", "TimeoutStopUSec", PropertyValue::Uint64(456_000_000)),
            ("TimeoutStopSec", "byte 234", "TimeoutStopUSec", PropertyValue::Uint64(234_000_000)),
            ("TimeoutStopSec", "int16 234", "TimeoutStopUSec", PropertyValue::Uint64(234_000_000)),
            ("TimeoutStopSec", "234.789", "TimeoutStopUSec", PropertyValue::Uint64(234_789_000)),
            ("FOOSec", "123", "FOOSec", PropertyValue::Int32(123)),
            ("Sec", "123", "Sec", PropertyValue::Int32(123)),
            (
                "CollectMode",
                "'inactive-or-failed'",
                "CollectMode",
                PropertyValue::text("inactive-or-failed"),
            ),
        ] {
            let found = annotation(name, text).expect(text);
            assert_eq!((&*found.name, &found.value), (property, &value), "{name}={text}");
        }
        for (name, text) in [
            ("TimeoutStopSec", "false"),
            ("TimeoutStopSec", "'covfefe'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("TimeoutStopSec", "nan"),
            ("Xo", "1"),
            ("Number1", "1"),
            ("ValidName", "invalid-value"),
        ] {
            assert!(annotation(name, text).is_err(), "{name}={text}");
        }
    }
}
