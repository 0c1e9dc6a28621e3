//! `list`: the containers below a state root.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use rustix::io::Errno;

use super::state::Shown;
use super::{ListFormat, frozen_or_not};
use crate::container::{ContainerId, ContainerSummary, StateRoot};
use crate::error::{Context, Failure, Result};
use crate::host;
use crate::sys::Named;

/// List containers.
#[derive(Debug, Args)]
pub struct List {
    /// Form of the list: table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Print nothing but ids, one a line
    #[arg(short, long)]
    pub quiet: bool,
}

/// Carries out `list`; gives the text for standard output. A container that cannot be looked at is
/// told of and left out.
///
/// # Errors
/// A state root that is not there, unless it is the default one: then nobody has made a container
/// yet.
pub fn list(args: &List, state_root: &Path) -> Result<String> {
    let mut text = ListOutput::new(args);
    let Some(root) = StateRoot::open(state_root).context("reading the state root (--root)")? else {
        if state_root == host::default_state_root() {
            return Ok(text.finish());
        }
        let missing = Err(Errno::NOENT).named(|| format!("open({state_root:?})"));
        return missing.context("reading the state root (--root)");
    };
    let mut owners = BTreeMap::new();
    for id in root.ids().context("reading the state root (--root)")? {
        match text.add(&root, &id, &mut owners) {
            Ok(()) => {}
            // It is being made or deleted while we look.
            Err(error) if error.downcast_ref() == Some(&Failure::NoSuchContainer) => {}
            Err(error) => log::warn!("container {id}: {error:#}"),
        }
    }
    Ok(text.finish())
}

/// What is printed, as far as it goes. Nothing else of a container is kept: there may be thousands.
enum ListOutput {
    Ids(String),
    Json(String),
    TextTable(TextTable<6>),
}

impl ListOutput {
    fn new(args: &List) -> Self {
        match args.format {
            _ if args.quiet => Self::Ids(String::new()),
            ListFormat::Json => Self::Json(String::new()),
            ListFormat::Table => {
                let mut table = TextTable::default();
                table.add(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
                Self::TextTable(table)
            }
        }
    }

    fn add(
        &mut self,
        root: &StateRoot,
        id: &ContainerId,
        owners: &mut BTreeMap<u32, String>,
    ) -> Result<()> {
        match self {
            Self::Ids(text) => {
                root.saved(id)?;
                *text += id;
                *text += "\n";
            }
            Self::Json(text) => {
                let shown = look(root, id, owners)?;
                text.push(if text.is_empty() { '[' } else { ',' });
                *text += &serde_json::to_string(&shown)?;
            }
            Self::TextTable(table) => {
                let Shown { id, pid, status, bundle, created, owner, .. } = look(root, id, owners)?;
                table.add([&id, &pid.to_string(), status.name(), &bundle, &created, &owner]);
            }
        }
        Ok(())
    }

    fn finish(self) -> String {
        match self {
            Self::Ids(text) => text,
            // Go's word for an empty list, which callers know.
            Self::Json(text) if text.is_empty() => "null\n".to_owned(),
            Self::Json(text) => text + "]\n",
            Self::TextTable(table) => table.finish(),
        }
    }
}

fn look(root: &StateRoot, id: &ContainerId, owners: &mut BTreeMap<u32, String>) -> Result<Shown> {
    let ContainerSummary { saved, status, owner } = root.look(id)?;
    let status = frozen_or_not(status, &saved)?;
    let owner = owners.entry(owner).or_insert_with(|| name_of(owner)).clone();
    Ok(Shown::of(saved, status, owner))
}

/// A user's name in /etc/passwd, or `#` and the number of one without a name. Not getpwuid(3): in a
/// static program that loads the C library's plug-ins from the machine.
fn name_of(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(name).unwrap_or_else(|| format!("#{uid}"))
}

/// Rows in columns: each as wide as its longest cell and three spaces, but at least twelve; the
/// last is not filled up.
struct TextTable<const N: usize> {
    /// Each with [`END`](Self::END) behind it.
    cells: String,
    widths: [usize; N],
}

impl<const N: usize> Default for TextTable<N> {
    fn default() -> Self {
        const LEAST: usize = 12;
        Self { cells: String::new(), widths: [LEAST; N] }
    }
}

impl<const N: usize> TextTable<N> {
    /// What no path can have in it.
    const END: char = '\0';

    fn add(&mut self, row: [&str; N]) {
        const SPACES: usize = 3;
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + SPACES);
            self.cells += cell;
            self.cells.push(Self::END);
        }
    }

    fn finish(self) -> String {
        let mut text = String::with_capacity(self.cells.len() * 3 / 2);
        for (at, cell) in self.cells.split_terminator(Self::END).enumerate() {
            text += cell;
            if at % N == N - 1 {
                text.push('\n');
            } else {
                text.extend(std::iter::repeat_n(
                    ' ',
                    self.widths[at % N].saturating_sub(cell.chars().count()),
                ));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{TextTable, name_of};

    #[test]
    fn columns_are_aligned() {
        let mut table = TextTable::default();
        for row in
            [["ID", "PID", "X"], ["a-name-of-some-length", "123456789", "x"], ["\u{fc}", "1", ""]]
        {
            table.add(row);
        }
        assert_eq!(
            table.finish(),
            "ID                      PID         X\n\
             a-name-of-some-length   123456789   x\n\
             \u{fc}                       1           \n"
        );
    }

    #[test]
    fn who_has_no_name_is_a_number() {
        assert_eq!(name_of(0), "root");
        assert_eq!(name_of(3_999_999_999), "#3999999999");
    }
}
