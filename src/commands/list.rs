//! `list`: the containers below a state root.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use rustix::io::Errno;

use super::Format;
use super::state::Shown;
use crate::container::{self, Container, ContainerId};
use crate::error::{Context, Failure, Result};
use crate::host;
use crate::sys::Named;

/// List containers.
#[derive(Debug, Args)]
pub struct List {
    /// Form of the list: table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Print nothing but ids, one a line
    #[arg(short, long)]
    pub quiet: bool,
}

/// Carries out `list`; gives the text for standard output. A container that cannot be looked at is told of and left out.
///
/// # Errors
/// A state root that is not there, unless it is the default one: then nobody has made a container yet.
pub fn list(args: &List, state_root: &Path) -> Result<String> {
    let ids = match container::ids(state_root) {
        Err(call) if call.is(Errno::NOENT) && state_root == host::default_state_root() => Vec::new(),
        other => other.context("reading the state root (--root)")?,
    };
    let mut all = Vec::with_capacity(ids.len());
    let mut owners = BTreeMap::new();
    for id in &ids {
        match look(state_root, id, &mut owners) {
            Ok(shown) => all.push(shown),
            // It is being made or deleted while we look.
            Err(error) if error.downcast_ref() == Some(&Failure::NoSuchContainer) => {}
            Err(error) => log::warn!("container {id}: {error:#}"),
        }
    }
    if args.quiet {
        return Ok(all.iter().map(|shown| format!("{}\n", shown.id)).collect());
    }
    Ok(match args.format {
        // Go's word for an empty list, which callers know.
        Format::Json if all.is_empty() => "null\n".to_owned(),
        Format::Json => serde_json::to_string(&all)? + "\n",
        Format::Table => table(&all),
    })
}

fn look(state_root: &Path, id: &ContainerId, owners: &mut BTreeMap<u32, String>) -> Result<Shown> {
    let container = Container::open(state_root, id)?;
    let uid = rustix::fs::fstat(container.fd()).named(|| "fstat()".to_owned())?.st_uid;
    let owner = owners.entry(uid).or_insert_with(|| owner(uid)).clone();
    Shown::of(container, owner)
}

/// A user's name in /etc/passwd, or `#` and the number of one without a name. Not getpwuid(3): in a static program that
/// loads the C library's plug-ins from the machine.
fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(name).unwrap_or_else(|| format!("#{uid}"))
}

fn table(all: &[Shown]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(Cow::from);
    aligned(std::iter::once(header).chain(all.iter().map(row)))
}

fn row(shown: &Shown) -> [Cow<'_, str>; 6] {
    let Shown { id, pid, status, bundle, created, owner, .. } = shown;
    let [id, bundle, created, owner] = [id, bundle, created, owner].map(|text| Cow::from(text.as_str()));
    [id, Cow::from(pid.to_string()), Cow::from(status.name()), bundle, created, owner]
}

/// Rows in columns: each as wide as its longest cell and three spaces, but at least twelve; the last is not filled up.
/// The rows are made twice, so that they need not be kept beside the text.
fn aligned<'a, const N: usize>(rows: impl Iterator<Item = [Cow<'a, str>; N]> + Clone) -> String {
    const SPACES: usize = 3;
    const LEAST: usize = 12;
    let (mut widths, mut count) = ([LEAST; N], 0);
    for row in rows.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + SPACES);
        }
        count += 1;
    }
    let mut text = String::with_capacity(count * widths.iter().sum::<usize>());
    if let Some(last) = widths.last_mut() {
        *last = 0;
    }
    for row in rows {
        for (width, cell) in widths.into_iter().zip(row) {
            text.push_str(&cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{aligned, owner};

    #[test]
    fn columns_are_aligned() {
        let rows = [["ID", "PID", "X"], ["a-name-of-some-length", "123456789", "x"], ["\u{fc}", "1", ""]];
        let rows = rows.map(|row| row.map(Cow::from));
        assert_eq!(
            aligned(rows.into_iter()),
            "ID                      PID         X\n\
             a-name-of-some-length   123456789   x\n\
             \u{fc}                       1           \n"
        );
    }

    #[test]
    fn who_has_no_name_is_a_number() {
        assert_eq!(owner(0), "root");
        assert_eq!(owner(3_999_999_999), "#3999999999");
    }
}
