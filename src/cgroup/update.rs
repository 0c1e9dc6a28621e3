//! `update`: all settings, or none.

use rustix::io::Errno;

use super::dir::Dir;
use super::{Cgroup, Version, systemd};
use crate::error::{Context, Result};
use crate::plan::resources::{ResourcePlan, Write};
use crate::plan::systemd::properties::{self, Property};

/// The content of a file before it was written.
struct OldValue<'a> {
    dir: &'a Dir,
    file: &'a str,
    /// The value that restores the content.
    value: String,
    setting: &'a Write,
}

impl Cgroup {
    /// Writes the settings, as [`set`](Self::set) does. If one is refused, those before it get
    /// their old values back. If systemd has the cgroup, it is called first: it writes the same
    /// values, or defaults for settings that it does not have, which are then written again.
    ///
    /// # Errors
    /// As [`set`](Self::set); also the old values that the kernel has refused.
    pub fn update(&self, plan: &mut ResourcePlan) -> Result<()> {
        // systemd does not check the usage before it sets a limit.
        self.check_memory(plan.memory_check)?;
        let properties = self.properties(plan);
        let before: Vec<OldValue<'_>> =
            plan.writes.iter().filter_map(|setting| self.before(setting)).collect();
        if let Some(unit) = &self.unit {
            systemd::set(unit, &properties)?;
        }
        self.apply(plan).or_else(|error| {
            let old = before.iter().map(OldValue::as_write).collect();
            let old = self.properties(&mut ResourcePlan { writes: old, ..ResourcePlan::default() });
            let mut lost = restore(before);
            if let Some(unit) = &self.unit
                && systemd::set(unit, &old).is_err()
            {
                lost.push("the properties of the unit");
            }
            if lost.is_empty() {
                return Err(error);
            }
            Err(error).context(format!("could not restore {}", lost.join(", ")))
        })
    }

    fn properties(&self, plan: &mut ResourcePlan) -> Vec<Property> {
        match &self.unit {
            Some(_) => properties::of_limits(plan, matches!(self.version, Version::V2(_))),
            None => Vec::new(),
        }
    }

    /// The content of a file; `None` if it does not exist or cannot be read.
    #[must_use]
    pub fn setting(&self, controller: &str, file: &str) -> Option<String> {
        self.dir_of(controller)?.read_all(file).ok()
    }

    fn dir_of(&self, controller: &str) -> Option<&Dir> {
        match &self.version {
            Version::V1(v1) => v1.dir(controller),
            Version::V2(v2) => Some(v2.dir()),
        }
    }

    /// A file that cannot be read, such as `memory.reclaim`, is a command and not a setting. It has
    /// no old value.
    fn before<'a>(&'a self, setting: &'a Write) -> Option<OldValue<'a>> {
        let dir = self.dir_of(&setting.controller)?;
        let (file, value, content) = match (dir.read_all(&setting.file), &setting.or) {
            (Err(call), Some((file, value))) if call.is(Errno::NOENT) => {
                (*file, value, dir.read_all(file))
            }
            (content, _) => (&*setting.file, &setting.value, content),
        };
        Some(OldValue { dir, file, value: old_value(file, value, &content.ok()?), setting })
    }
}

impl OldValue<'_> {
    /// The setting that restores the old value.
    fn as_write(&self) -> Write {
        Write { value: self.value.clone(), or: None, ..self.setting.clone() }
    }
}

/// The value that restores this content of `file` after `new` has been written.
fn old_value(file: &str, new: &str, content: &str) -> String {
    let key = new.split(' ').next().unwrap_or_default();
    let line = |key: &str| content.lines().find(|line| line.split([' ', '\t']).next() == Some(key));
    // Files with a line for each device. The second value is the default of a device without a
    // line.
    let none = match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "rdma.max" => "hca_handle=max hca_object=max",
        "io.weight" | "io.bfq.weight" if key.contains(':') => "default",
        "io.weight" | "io.bfq.weight" => {
            return line("default").unwrap_or(content).trim().to_owned();
        }
        "net_prio.ifpriomap" => "0",
        _ if file.starts_with("blkio.throttle.") || file.ends_with("weight_device") => "0",
        // An empty value, for instance of a cpuset, needs a newline to be written.
        _ => {
            return if content.trim().is_empty() {
                "\n".to_owned()
            } else {
                content.trim().to_owned()
            };
        }
    };
    line(key).map_or_else(|| format!("{key} {none}"), str::to_owned)
}

/// Writes the old values, the last one first. The kernel may accept one only after another (the
/// limit on memory, and that on memory and swap), so refused ones are tried again as long as others
/// succeed. Returns the names of the files that are left.
fn restore(mut before: Vec<OldValue<'_>>) -> Vec<&str> {
    before.reverse();
    loop {
        let left = before.len();
        before.retain(|old| old.dir.write(old.file, &old.value).is_err());
        if before.is_empty() || before.len() == left {
            return before.into_iter().map(|old| old.file).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::old_value;

    #[test]
    fn old_values_are_written_as_the_kernel_takes_them() {
        for (file, new, content, old) in [
            ("memory.limit_in_bytes", "1", "9223372036854771712\n", "9223372036854771712"),
            ("cpu.max", "5 6", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", "\n"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:16 rbps=1 wbps=max\n8:0 rbps=2 wbps=max\n",
                "8:0 rbps=2 wbps=max",
            ),
            ("io.max", "8:0 rbps=5", "8:16 rbps=1\n", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "200", "default 100\n8:0 50\n", "default 100"),
            ("io.weight", "8:0 200", "default 100\n8:0 50\n", "8:0 50"),
            ("io.weight", "8:16 200", "default 100\n8:0 50\n", "8:16 default"),
            ("blkio.throttle.read_bps_device", "8:0 9", "", "8:0 0"),
            ("blkio.throttle.read_bps_device", "8:0 9", "8:0 7\n", "8:0 7"),
            (
                "rdma.max",
                "m_0 hca_handle=2",
                "m_0 hca_handle=max hca_object=3\n",
                "m_0 hca_handle=max hca_object=3",
            ),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 1\n", "eth0 1"),
        ] {
            assert_eq!(old_value(file, new, content), old, "{file} {new}");
        }
    }
}
