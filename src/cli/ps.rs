//! `ps`.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Args;

use super::flags::{self, ListFormat};
use super::print;
use crate::commands::ps;
use crate::error::{Context, Failure, Result};
use crate::sys::wait::{self, Bound};

/// How long ps(1) may take. A process that hangs in the kernel may delay it.
const PATIENCE: Bound = Bound::Within(Duration::from_secs(30));

/// Show the processes of a container.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Output format: table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = flags::format)]
    format: ListFormat,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Options of ps(1) for the table; the output must have the column PID [default: -ef]
    #[arg(value_name = "PS-OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl PsArgs {
    /// Runs the command.
    pub fn run(&self, state_root: &Path) -> Result<u8> {
        let pids = ps::ps(&self.id, state_root)?;
        let text = match self.format {
            // Go's empty list, which callers expect.
            ListFormat::Json if pids.is_empty() => "null\n".to_owned(),
            ListFormat::Json => serde_json::to_string(&pids)? + "\n",
            ListFormat::Table => only(&all_processes(&self.options)?, &pids.into_iter().collect())?,
        };
        print(&text)?;
        Ok(0)
    }
}

/// The output of ps(1).
fn all_processes(options: &[String]) -> Result<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "std opens everything close-on-exec; ps(1) is this verb's meaning"
    )]
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef")
    } else {
        ps.args(options)
    };
    let output =
        wait::run(&mut ps, PATIENCE).context("running ps(1)")?.context("ps(1) did not end")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        anyhow::bail!("ps(1): {}: {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The header of `table`, and the rows whose column PID is in `pids`.
fn only(table: &str, pids: &HashSet<i32>) -> Result<String> {
    let no_column = || Failure::Usage("couldn't find PID field in ps output".to_owned());
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column =
        header.split_whitespace().position(|title| title == "PID").ok_or_else(no_column)?;
    let mut text = format!("{header}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let cell = line.split_whitespace().nth(column).unwrap_or_default();
        let pid = cell
            .parse::<i32>()
            .with_context(|| format!("no pid in column {column} of {line:?}"))?;
        if pids.contains(&pid) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn rows_are_chosen_by_the_column_pid() {
        let pids = [7, 70].into();
        let table =
            "UID  PID PPID CMD\nroot   7    1 sh\nroot  17    7 sleep 70\n\nroot  70    7 x\n";
        let text = only(table, &pids).ok();
        assert_eq!(text.as_deref(), Some("UID  PID PPID CMD\nroot   7    1 sh\nroot  70    7 x\n"));
        assert_eq!(only("  PID\n   17\n", &pids).ok().as_deref(), Some("  PID\n"));
        for bad in ["", "COMMAND\nsh\n", "USER PID\nroot\n", "COMMAND PID\na b 7\n"] {
            assert!(only(bad, &pids).is_err(), "{bad:?}");
        }
    }
}
