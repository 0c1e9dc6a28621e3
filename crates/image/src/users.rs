//! Resolves `Config.User` of an image: numbers, or names in the image's own /etc/passwd and
//! /etc/group (conversion.md, "Config.User").

use std::io::Read;

use anyhow::{Context, Result};

use crate::rootfs::Tree;

/// The limit on bytes that are read from a file. No real file is longer.
const MAX_BYTES: u64 = 16 << 20;

/// The values for `process.user` of config.json.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageUser {
    /// `uid`
    pub uid: u32,
    /// `gid`
    pub gid: u32,
    /// `additionalGids`
    pub groups: Vec<u32>,
}

/// Resolves `user`, written `user[:group]`, in the root filesystem.
///
/// # Errors
/// A name does not exist; a file cannot be read.
pub fn find(user: &str, rootfs: &Tree) -> Result<ImageUser> {
    resolve(user, |file| {
        let mut text = Vec::new();
        if let Some(open) = rootfs.read(file)? {
            open.take(MAX_BYTES)
                .read_to_end(&mut text)
                .with_context(|| format!("reading {file}"))?;
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    })
}

fn resolve(user: &str, read: impl Fn(&str) -> Result<String>) -> Result<ImageUser> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let by_number = if name.is_empty() { Some(0) } else { number(name) };
    let passwd =
        if by_number.is_some() && group.is_some() { String::new() } else { read("etc/passwd")? };
    let mut entries = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, number(fields.nth(1)?)?, number(fields.next()?)?))
    });
    let mut found = ImageUser::default();
    if let Some(uid) = by_number {
        found.uid = uid;
        found.gid = entries.find(|(_, other, _)| *other == uid).map_or(0, |(_, _, gid)| gid);
    } else {
        let entry = entries.find(|(other, _, _)| *other == name);
        let (_, uid, gid) = entry
            .with_context(|| format!("Config.User: no user {name:?} in the image's /etc/passwd"))?;
        (found.uid, found.gid) = (uid, gid);
    }
    if let Some(group) = group {
        found.gid = match number(group) {
            Some(gid) => gid,
            None => {
                let groups = read("etc/group")?;
                let gid = groups.lines().filter_map(group_of).find(|(name, _, _)| *name == group);
                gid.with_context(|| {
                    format!("Config.User: no group {group:?} in the image's /etc/group")
                })?
                .1
            }
        };
    } else if by_number.is_none() {
        let groups = read("etc/group")?;
        let member = |members: &str| members.split(',').any(|member| member.trim() == name);
        let more = groups
            .lines()
            .filter_map(group_of)
            .filter(|(_, gid, members)| *gid != found.gid && member(members));
        found.groups = more.map(|(_, gid, _)| gid).collect();
        found.groups.sort_unstable();
        found.groups.dedup();
    }
    Ok(found)
}

/// The name, number and members of a line of /etc/group.
fn group_of(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let gid = number(fields.nth(1)?)?;
    Some((name, gid, fields.next().unwrap_or("")))
}

/// An id in decimal digits. The largest number is not an id: it means "no change" to chown(2).
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user: &str) -> Result<ImageUser> {
        resolve(user, |file| {
            Ok(match file {
                "etc/passwd" => {
                    "root:x:0:0::/root:/bin/sh\nbroken\nweb:x:101:102:web,,,:/:/bin/false\n\n\
                     n:x:x:1:::\n"
                }
                _ => {
                    "root:x:0:\nweb:x:102:\nadm:x:4:web,root\nlog:x:9:root, web\nsame:x:4:web\n\
                     bad:x:y:web\nshort:x:77"
                }
            }
            .to_owned())
        })
    }

    #[test]
    fn who_is_meant() {
        for (user, uid, gid, groups) in [
            ("web", 101, 102, &[4, 9][..]),
            ("web:", 101, 102, &[4, 9]),
            ("web:adm", 101, 4, &[]),
            ("web:1234", 101, 1234, &[]),
            ("101", 101, 102, &[]),
            ("4711", 4711, 0, &[]),
            ("4711:4712", 4711, 4712, &[]),
            ("4711:short", 4711, 77, &[]),
            ("0", 0, 0, &[]),
            ("root", 0, 0, &[4, 9]),
            (":adm", 0, 4, &[]),
        ] {
            assert_eq!(
                ask(user).unwrap(),
                ImageUser { uid, gid, groups: groups.to_vec() },
                "{user}"
            );
        }
        for (user, missing) in [
            ("nobody", "user \"nobody\""),
            ("0:staff", "group \"staff\""),
            ("n", "user \"n\""),
            ("-1", "user \"-1\""),
            ("4294967295", "user"),
        ] {
            let error = ask(user).unwrap_err().to_string();
            assert!(error.contains(missing), "{user}: {error}");
        }
    }
}
