//! `list` and `state`.

use std::path::Path;

use clap::Args;

use super::flags::{self, ListFormat};
use super::print;
use crate::commands::list::{self, Listing};
use crate::commands::state::{self, ContainerState};
use crate::error::Result;

/// Show the state of a container.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// List containers.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Output format: table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = flags::format)]
    format: ListFormat,
    /// Print only the ids, one on each line
    #[arg(short, long)]
    quiet: bool,
}

impl StateArgs {
    /// Runs the command. There is no newline at the end, as in runc.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        print(&serde_json::to_string_pretty(&state::state(&self.id, state_root)?)?)?;
        Ok(0)
    }
}

impl ListArgs {
    /// Runs the command. Only the text of a container is kept, because there may be thousands.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        let listing = list::list(state_root)?;
        let text = match self.format {
            _ if self.quiet => ids(&listing),
            ListFormat::Json => json(&listing)?,
            ListFormat::Table => table(&listing),
        };
        print(&text)?;
        Ok(0)
    }
}

fn ids(listing: &Listing) -> String {
    let mut text = String::new();
    for id in listing.ids() {
        text += &id;
        text += "\n";
    }
    text
}

/// One array on one line. Without containers, it is `null`: Go's empty list, which callers expect.
fn json(listing: &Listing) -> Result<String> {
    let mut text = String::new();
    for summary in listing.containers() {
        text.push(if text.is_empty() { '[' } else { ',' });
        text += &serde_json::to_string(&summary)?;
    }
    Ok(if text.is_empty() { "null\n".to_owned() } else { text + "]\n" })
}

fn table(listing: &Listing) -> String {
    let mut table = TextTable::default();
    table.add(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    for summary in listing.containers() {
        let ContainerState { id, pid, status, bundle, created, owner, .. } = summary;
        table.add([&id, &pid.to_string(), status.name(), &bundle, &created, &owner]);
    }
    table.finish()
}

/// Rows in columns. A column is as wide as its longest cell and three spaces, but at least twelve.
/// The last one is not padded.
struct TextTable<const N: usize> {
    /// The cells, with [`END`](Self::END) after each.
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
    /// A character that no path can contain.
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
    use super::TextTable;

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
}
