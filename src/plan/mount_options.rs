//! The options of a mount: one table, which `features` prints too.
//! config.json: mounts[].options

use super::Problems;
use crate::config::Text;
use crate::kernel::FsOption;

/// `MOUNT_ATTR_…` of mount_setattr(2); they are the same for every architecture.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id.
    pub const NOSUID: u64 = 0x2;
    /// No device files.
    pub const NODEV: u64 = 0x4;
    /// No programs.
    pub const NOEXEC: u64 = 0x8;
    /// The field of the access time mode. 0 is `relatime`.
    pub const ATIME: u64 = 0x70;
    /// Access times are not kept.
    pub const NOATIME: u64 = 0x10;
    /// Access times are updated at each access.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// `MS_…` of mount(2). mount_setattr(2) accepts some of them too. They are the same for all
/// architectures. libc has them as `unsigned long`, which has 32 bits on some.
pub mod ms {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id.
    pub const NOSUID: u64 = 0x2;
    /// No device files.
    pub const NODEV: u64 = 0x4;
    /// No programs.
    pub const NOEXEC: u64 = 0x8;
    /// Every write is on the disk before it returns.
    pub const SYNCHRONOUS: u64 = 0x10;
    /// Mandatory locks.
    pub const MANDLOCK: u64 = 0x40;
    /// As [`SYNCHRONOUS`], but only for directories.
    pub const DIRSYNC: u64 = 0x80;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x100;
    /// Access times are not kept.
    pub const NOATIME: u64 = 0x400;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x800;
    /// A bind mount; with `MS_REMOUNT`, the attributes of a mount.
    pub const BIND: u64 = 0x1000;
    /// The kernel logs less.
    pub const SILENT: u64 = 0x8000;
    /// Propagation: none, and it cannot be bound.
    pub const UNBINDABLE: u64 = 0x2_0000;
    /// Propagation: none.
    pub const PRIVATE: u64 = 0x4_0000;
    /// Propagation: only from the host into the container.
    pub const SLAVE: u64 = 0x8_0000;
    /// Propagation: in both directions.
    pub const SHARED: u64 = 0x10_0000;
    /// Counts the changes of inodes.
    pub const I_VERSION: u64 = 0x80_0000;
    /// Access times are updated at each access.
    pub const STRICTATIME: u64 = 0x100_0000;
    /// Times are written to the disk late.
    pub const LAZYTIME: u64 = 0x200_0000;
}

/// Attributes to set and to clear: bits of [`attr`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Set after clearing.
    pub set: u64,
    /// Cleared first.
    pub clear: u64,
}

impl Attributes {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// A later option overrides an earlier one.
    fn apply(&mut self, set: u64, clear: u64) {
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
        // The access time mode is a number and not a flag: the field is cleared before it is set.
        if (set | clear) & attr::ATIME != 0 {
            self.clear |= attr::ATIME;
        }
    }
}

/// What is done if the source of a bind mount is a symbolic link.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum SourceLink {
    /// It is followed.
    #[default]
    Follow,
    /// It is mounted itself (`src-nofollow`).
    Mount,
    /// The same link is made at the destination, and nothing is mounted (`copy-symlink`).
    Copy,
}

/// The effect of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Sets and clears attributes of the mount.
    Attributes(u64, u64),
    /// The same for all mounts below, too.
    Recursive(u64, u64),
    /// `ro`, `rw`: for the mount and for a new filesystem.
    ReadOnly(bool),
    /// A bind mount; true if recursive.
    Bind(bool),
    /// Changes an existing mount.
    Remount,
    /// Propagation; true if recursive.
    Propagation(u64, bool),
    /// A flag that all filesystems have (fsconfig(2)).
    Filesystem,
    /// A flag that only mount(2) has, set or cleared.
    MountOnly(u64, bool),
    /// A tmpfs that begins with a copy of the files that it covers.
    CopyUp,
    /// An id-mapped mount; true if recursive.
    Idmap(bool),
    /// What is done if the source of a bind mount is a symbolic link.
    Source(SourceLink),
    /// A symbolic link at the destination is not followed.
    KeepDestination,
    /// No effect.
    Nothing,
}

/// All options that we handle: the MUST and SHOULD list of config.md of the specification. Other
/// options are passed to the filesystem.
static OPTIONS: [(&str, Effect); 72] = {
    use Effect::{
        Attributes, Bind, CopyUp, Filesystem, Idmap, KeepDestination, MountOnly, Nothing,
        Propagation, ReadOnly, Recursive, Remount, Source,
    };
    use attr::{
        ATIME, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, STRICTATIME,
    };
    [
        ("async", Filesystem),
        ("atime", Attributes(0, NOATIME)),
        ("bind", Bind(false)),
        ("copy-symlink", Source(SourceLink::Copy)),
        ("defaults", Nothing),
        ("dest-nofollow", KeepDestination),
        ("dev", Attributes(0, NODEV)),
        ("diratime", Attributes(0, NODIRATIME)),
        ("dirsync", Filesystem),
        ("exec", Attributes(0, NOEXEC)),
        ("idmap", Idmap(false)),
        ("iversion", MountOnly(ms::I_VERSION, true)),
        ("lazytime", Filesystem),
        ("loud", MountOnly(ms::SILENT, false)),
        ("mand", Filesystem),
        ("noatime", Attributes(NOATIME, ATIME)),
        ("nodev", Attributes(NODEV, 0)),
        ("nodiratime", Attributes(NODIRATIME, 0)),
        ("noexec", Attributes(NOEXEC, 0)),
        ("noiversion", MountOnly(ms::I_VERSION, false)),
        ("nolazytime", Filesystem),
        ("nomand", Filesystem),
        ("norelatime", Attributes(0, 0)),
        ("nostrictatime", Attributes(0, STRICTATIME)),
        ("nosuid", Attributes(NOSUID, 0)),
        ("nosymfollow", Attributes(NOSYMFOLLOW, 0)),
        ("private", Propagation(ms::PRIVATE, false)),
        ("ratime", Recursive(0, NOATIME)),
        ("rbind", Bind(true)),
        ("rdev", Recursive(0, NODEV)),
        ("rdiratime", Recursive(0, NODIRATIME)),
        ("relatime", Attributes(0, ATIME)),
        ("remount", Remount),
        ("rexec", Recursive(0, NOEXEC)),
        ("ridmap", Idmap(true)),
        ("rnoatime", Recursive(NOATIME, ATIME)),
        ("rnodev", Recursive(NODEV, 0)),
        ("rnodiratime", Recursive(NODIRATIME, 0)),
        ("rnoexec", Recursive(NOEXEC, 0)),
        ("rnorelatime", Recursive(0, 0)),
        ("rnostrictatime", Recursive(0, STRICTATIME)),
        ("rnosuid", Recursive(NOSUID, 0)),
        ("rnosymfollow", Recursive(NOSYMFOLLOW, 0)),
        ("ro", ReadOnly(true)),
        ("rprivate", Propagation(ms::PRIVATE, true)),
        ("rrelatime", Recursive(0, ATIME)),
        ("rro", Recursive(RDONLY, 0)),
        ("rrw", Recursive(0, RDONLY)),
        ("rshared", Propagation(ms::SHARED, true)),
        ("rslave", Propagation(ms::SLAVE, true)),
        ("rstrictatime", Recursive(STRICTATIME, ATIME)),
        ("rsuid", Recursive(0, NOSUID)),
        ("rsymfollow", Recursive(0, NOSYMFOLLOW)),
        ("runbindable", Propagation(ms::UNBINDABLE, true)),
        ("rw", ReadOnly(false)),
        ("shared", Propagation(ms::SHARED, false)),
        ("silent", MountOnly(ms::SILENT, true)),
        ("slave", Propagation(ms::SLAVE, false)),
        ("src-nofollow", Source(SourceLink::Mount)),
        ("strictatime", Attributes(STRICTATIME, ATIME)),
        ("suid", Attributes(0, NOSUID)),
        ("symfollow", Attributes(0, NOSYMFOLLOW)),
        ("sync", Filesystem),
        ("tmpcopyup", CopyUp),
        ("unbindable", Propagation(ms::UNBINDABLE, false)),
        // Options of mount(8) that the kernel does not have.
        ("auto", Nothing),
        ("noauto", Nothing),
        ("user", Nothing),
        ("nouser", Nothing),
        ("_netdev", Nothing),
        ("nofail", Nothing),
        ("group", Nothing),
    ]
};

/// The parsed options of a mount.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    /// `bind` or `rbind`, and whether the latter.
    pub bind: Option<bool>,
    /// `remount`.
    pub remount: bool,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` or `ridmap`, and whether the latter.
    pub idmap: Option<bool>,
    /// The mappings in `idmap=…`: the index of the option, and the text.
    pub mappings: Option<(usize, String)>,
    /// `src-nofollow` or `copy-symlink`.
    pub link: SourceLink,
    /// `dest-nofollow`.
    pub keep_destination: bool,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Attributes of the mount and all below.
    pub recursive: Attributes,
    /// The propagation changes, in order: the flag, and whether it is recursive.
    pub propagation: Vec<(u64, bool)>,
    /// The options for the filesystem: `key`, or `key=value`.
    pub filesystem: Vec<FsOption>,
    /// How many of these belong to the filesystem, and are not flags that all filesystems have.
    pub own: usize,
    /// The `MS_…` flags that only mount(2) has.
    pub mount_only: u64,
}

/// Parses the options of `mounts[index]`.
pub fn parse(index: usize, options: &[Text<'_>], problems: &mut Problems) -> Options {
    let mut parsed = Options::default();
    for (place, option) in options.iter().enumerate() {
        let key = || format!("/mounts/{index}/options/{place}");
        if option.contains('\0') {
            problems.add(key(), "must not contain NUL");
        } else if let Some((name @ ("idmap" | "ridmap"), mappings)) = option.split_once('=') {
            parsed.apply(name, Effect::Idmap(name == "ridmap"));
            parsed.mappings = (!mappings.is_empty()).then(|| (place, mappings.to_owned()));
        } else if let Some((_, effect)) = OPTIONS.iter().find(|(name, _)| *name == &**option) {
            let other = |link: &SourceLink| ![SourceLink::Follow, *link].contains(&parsed.link);
            if matches!(effect, Effect::Source(link) if other(link)) {
                problems.add(key(), "src-nofollow and copy-symlink exclude each other");
            }
            parsed.apply(option, *effect);
        } else if !option.is_empty() {
            parsed.filesystem.push(FsOption::parse(option));
            parsed.own += 1;
        }
    }
    parsed
}

impl Options {
    /// The attributes that a bind mount does not copy from its source. If its options name
    /// attributes, it has only those, and the access time mode of the source. Else it has all those
    /// of the source. runc does the same, as `mount --bind -o …` suggests.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        const ALL: u64 =
            attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        let Attributes { set, clear } = self.attributes;
        let named =
            !self.attributes.is_empty() || !self.filesystem.is_empty() || self.mount_only != 0;
        if named { ALL & !(set | clear) } else { 0 }
    }

    fn apply(&mut self, name: &str, effect: Effect) {
        match effect {
            Effect::Attributes(set, clear) => self.attributes.apply(set, clear),
            Effect::Recursive(set, clear) => self.recursive.apply(set, clear),
            Effect::ReadOnly(true) => self.attributes.apply(attr::RDONLY, 0),
            Effect::ReadOnly(false) => self.attributes.apply(0, attr::RDONLY),
            Effect::Bind(recursive) => self.bind = Some(self.bind == Some(true) || recursive),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::Source(link) => self.link = link,
            Effect::KeepDestination => self.keep_destination = true,
            Effect::Idmap(recursive) => self.idmap = Some(self.idmap == Some(true) || recursive),
            Effect::Propagation(flag, recursive) => self.propagation.push((flag, recursive)),
            Effect::Filesystem => self.filesystem.push(FsOption::flag(name)),
            Effect::MountOnly(flag, true) => self.mount_only |= flag,
            Effect::MountOnly(flag, false) => self.mount_only &= !flag,
            Effect::Nothing => {}
        }
    }
}

/// Names for `features`, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS
        .iter()
        .filter(|(_, effect)| *effect != Effect::Nothing)
        .map(|(name, _)| *name)
        .chain(["defaults"])
}

/// The `MS_…` flag of an option that all filesystems have, or 0.
pub(super) fn fs_flag(name: &str) -> u64 {
    match name {
        "ro" => ms::RDONLY,
        "sync" => ms::SYNCHRONOUS,
        "dirsync" => ms::DIRSYNC,
        "lazytime" => ms::LAZYTIME,
        "mand" => ms::MANDLOCK,
        _ => 0,
    }
}

/// Whether the option clears such a flag. For mount(2) it is then not set.
pub(super) fn is_negation(name: &str) -> bool {
    matches!(name, "async" | "nolazytime" | "nomand")
}

#[cfg(test)]
mod tests {
    use super::{Attributes, FsOption, OPTIONS, Options, attr, ms, parse};
    use crate::config::Text;
    use crate::plan::Problems;

    fn options(names: &[&'static str]) -> Options {
        let names: Vec<Text<'_>> = names.iter().map(|name| Text::from(*name)).collect();
        let mut problems = Problems::default();
        let options = parse(0, &names, &mut problems);
        assert!(problems.found().is_empty(), "{problems:?}");
        options
    }

    #[test]
    fn a_name_stands_once() {
        for (index, (name, _)) in OPTIONS.iter().enumerate() {
            assert_eq!(OPTIONS.iter().position(|(other, _)| other == name), Some(index), "{name}");
        }
    }

    #[test]
    fn options_become_attributes() {
        let table: [(&[&str], u64, u64); 8] = [
            (&["ro", "nosuid"], attr::RDONLY | attr::NOSUID, 0),
            (&["ro", "rw"], 0, attr::RDONLY),
            (&["nodev", "dev", "nodev"], attr::NODEV, 0),
            (&["noatime"], attr::NOATIME, attr::ATIME),
            (&["noatime", "strictatime"], attr::STRICTATIME, attr::ATIME),
            (&["strictatime", "relatime"], 0, attr::ATIME),
            (&["defaults"], 0, 0),
            (&["nosymfollow", "nodiratime"], attr::NOSYMFOLLOW | attr::NODIRATIME, 0),
        ];
        for (names, set, clear) in table {
            assert_eq!(options(names).attributes, Attributes { set, clear }, "{names:?}");
        }
        assert_eq!(
            options(&["rro", "rnodev"]).recursive,
            Attributes { set: attr::RDONLY | attr::NODEV, clear: 0 }
        );
    }

    #[test]
    fn a_bind_mount_whose_options_name_attributes_has_no_others() {
        let others = attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        let table: [(&[&str], u64); 6] = [
            (&["rbind", "rprivate"], 0),
            (&["rbind", "rro", "defaults"], 0),
            (&["rbind", "ro"], others),
            (&["bind", "rw"], others),
            (&["bind", "sync"], others | attr::RDONLY),
            (
                &["bind", "noatime", "nosuid", "exec"],
                attr::RDONLY | attr::NODEV | attr::NOSYMFOLLOW,
            ),
        ];
        for (names, unnamed) in table {
            assert_eq!(options(names).unnamed(), unnamed, "{names:?}");
        }
    }

    #[test]
    fn what_we_do_not_know_goes_to_the_filesystem() {
        let read =
            options(&["bind", "rbind", "size=65536k", "x-y", "sync", "rslave", "lowerdir=/a=b,c"]);
        assert_eq!(read.bind, Some(true));
        assert_eq!(read.propagation, [(ms::SLAVE, true)]);
        let expected = [
            FsOption::new("size", "65536k"),
            FsOption::flag("x-y"),
            FsOption::flag("sync"),
            FsOption::new("lowerdir", "/a=b,c"),
        ];
        assert_eq!(read.filesystem, expected);
        assert_eq!(read.own, 3);
    }
}
