//! The terminal of the program, and the receiver of its master.
//! config.json: process.terminal, process.consoleSize.{height, width}

use std::path::PathBuf;

use super::Problems;
use crate::config;

/// The terminal flags of the caller.
#[derive(Debug, Clone, Copy)]
pub struct TerminalRequest<'a> {
    /// Whether the runtime ends before the program: `create`, `--detach`.
    pub detach: bool,
    /// The receiver of the master.
    pub console: &'a ConsoleTarget,
}

impl Default for TerminalRequest<'_> {
    fn default() -> Self {
        Self { detach: false, console: &ConsoleTarget::Unnamed }
    }
}

/// The receiver of the master of the terminal. The master is the side that shows the output of the
/// program.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum ConsoleTarget {
    /// No receiver. Then only a program in the foreground can have a terminal, and we connect it
    /// with ours.
    #[default]
    Unnamed,
    /// The process that listens on this socket (`--console-socket`).
    Socket(PathBuf),
    /// The caller of the library: the master is a part of the result. There is none if the program
    /// has no terminal.
    Returned,
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct TerminalPlan {
    /// The rows and columns, if the config has them.
    pub size: Option<(u16, u16)>,
    /// The receiver of the master.
    pub master: Master,
}

/// The receiver of the master.
#[derive(Debug, PartialEq, Eq)]
pub enum Master {
    /// The process that listens on this socket.
    Socket(PathBuf),
    /// This process, which connects the master with its own terminal.
    Runtime,
    /// The caller of the library.
    Caller,
}

/// Decides the terminal. The errors have the texts of runc. Without a terminal its size is ignored.
pub fn decide(
    process: Option<&config::Process<'_>>,
    caller: TerminalRequest<'_>,
    problems: &mut Problems,
) -> Option<TerminalPlan> {
    let process = process?;
    let master = match (process.terminal, caller.detach, caller.console) {
        (false, _, ConsoleTarget::Unnamed | ConsoleTarget::Returned) => return None,
        (true, _, ConsoleTarget::Returned) => Master::Caller,
        (true, false, ConsoleTarget::Unnamed) => Master::Runtime,
        (true, true, ConsoleTarget::Socket(path)) => Master::Socket(path.clone()),
        (true, true, ConsoleTarget::Unnamed) => {
            let text = "cannot allocate tty if runc will detach without setting console socket (--console-socket)";
            problems.add("/process/terminal", text);
            return None;
        }
        (false, _, ConsoleTarget::Socket(_)) | (true, false, ConsoleTarget::Socket(_)) => {
            let text = "cannot use console socket if runc will not detach or allocate tty (--console-socket)";
            problems.add("/process/terminal", text);
            return None;
        }
    };
    Some(TerminalPlan {
        size: process.console_size.and_then(|size| self::size(size, problems)),
        master,
    })
}

/// 0 rows or columns mean that the size is not known, as in runc.
fn size(size: config::ConsoleSize, problems: &mut Problems) -> Option<(u16, u16)> {
    let mut side = |key: &str, length: u64| {
        let side = u16::try_from(length).ok();
        if side.is_none() {
            problems.add(
                format_args!("/process/consoleSize/{key}"),
                format!("{length} is above {}", u16::MAX),
            );
        }
        side
    };
    let (rows, columns) = (side("height", size.height), side("width", size.width));
    rows.zip(columns).filter(|(rows, columns)| *rows != 0 && *columns != 0)
}

#[cfg(test)]
mod tests {
    use super::{ConsoleTarget, Master, TerminalPlan, TerminalRequest, decide};
    use crate::config::{ConsoleSize, Process};
    use crate::plan::Problems;

    fn plan(
        process: &Process<'_>,
        caller: TerminalRequest<'_>,
    ) -> Result<Option<TerminalPlan>, String> {
        let mut problems = Problems::default();
        let plan = decide(Some(process), caller, &mut problems);
        problems.into_result().map_err(|error| error.to_string())?;
        Ok(plan)
    }

    #[test]
    fn somebody_gets_the_master_of_every_terminal() {
        let (nobody, socket) =
            (&ConsoleTarget::Unnamed, &ConsoleTarget::Socket("/run/console".into()));
        let with = |terminal, detach, console| {
            plan(&Process { terminal, ..Process::default() }, TerminalRequest { detach, console })
        };
        let master = |terminal, detach, socket| {
            with(terminal, detach, socket).expect("a plan").map(|plan| plan.master)
        };
        assert_eq!(master(false, false, nobody), None);
        assert_eq!(master(false, true, nobody), None);
        assert_eq!(master(true, false, nobody), Some(Master::Runtime));
        assert_eq!(master(false, true, &ConsoleTarget::Returned), None);
        for detach in [false, true] {
            assert_eq!(master(true, detach, &ConsoleTarget::Returned), Some(Master::Caller));
        }
        assert_eq!(master(true, true, socket), Some(Master::Socket("/run/console".into())));
        let nobody = with(true, true, nobody).expect_err("nobody shows it");
        assert!(
            nobody
                .contains("cannot allocate tty if runc will detach without setting console socket"),
            "{nobody}"
        );
        for (terminal, detach) in [(false, false), (false, true), (true, false)] {
            let idle = with(terminal, detach, socket).expect_err("nothing for the socket");
            assert!(
                idle.contains("cannot use console socket if runc will not detach or allocate tty"),
                "{idle}"
            );
        }
    }

    #[test]
    fn a_size_has_two_sides() {
        let with = |terminal, height, width| {
            let console_size = Some(ConsoleSize { height, width });
            let plan = plan(
                &Process { terminal, console_size, ..Process::default() },
                TerminalRequest::default(),
            );
            plan.map(|plan| plan.and_then(|plan| plan.size))
        };
        assert_eq!(with(true, 24, 80), Ok(Some((24, 80))));
        assert_eq!(with(true, 65535, 1), Ok(Some((65535, 1))));
        assert_eq!(with(true, 0, 80), Ok(None));
        assert_eq!(with(true, 24, 0), Ok(None));
        assert_eq!(with(false, 24, 70000), Ok(None));
        assert_eq!(
            with(true, 24, 65536),
            Err("process.consoleSize.width: 65536 is above 65535".to_owned())
        );
        assert_eq!(
            with(true, 65536, 80),
            Err("process.consoleSize.height: 65536 is above 65535".to_owned())
        );
    }
}
