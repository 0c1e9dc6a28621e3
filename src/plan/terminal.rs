//! Whether the program has a terminal, and who gets the other side of it.
//! config.json: process.terminal, process.consoleSize.{height, width}

use std::path::{Path, PathBuf};

use super::Problems;
use crate::config;

/// What the command line says about terminals.
#[derive(Debug, Clone, Copy, Default)]
pub struct TerminalRequest<'a> {
    /// Whether the runtime ends before the program: `create`, `--detach`.
    pub detach: bool,
    /// `--console-socket`.
    pub console_socket: Option<&'a Path>,
}

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct TerminalPlan {
    /// Rows and columns, when they are given.
    pub size: Option<(u16, u16)>,
    /// Who gets the master.
    pub master: Master,
}

/// Who gets the master, the side of the terminal that shows what the program writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Master {
    /// Whoever listens on this socket.
    Socket(PathBuf),
    /// We ourselves, between the program and our own terminal.
    Runtime,
}

/// Decides, with runc's texts. Without a terminal its size means nothing.
pub fn decide(
    process: Option<&config::Process<'_>>,
    caller: TerminalRequest<'_>,
    problems: &mut Problems,
) -> Option<TerminalPlan> {
    let process = process?;
    let master = match (process.terminal, caller.detach, caller.console_socket) {
        (false, _, None) => return None,
        (true, false, None) => Master::Runtime,
        (true, true, Some(path)) => Master::Socket(path.to_owned()),
        (true, true, None) => {
            let text = "cannot allocate tty if runc will detach without setting console socket (--console-socket)";
            problems.add("/process/terminal", text);
            return None;
        }
        (false, _, Some(_)) | (true, false, Some(_)) => {
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

/// A side of length zero means that nothing is known, as with runc.
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
    use std::path::Path;

    use super::{Master, TerminalPlan, TerminalRequest, decide};
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
        let socket = Some(Path::new("/run/console"));
        let with = |terminal, detach, console_socket| {
            plan(
                &Process { terminal, ..Process::default() },
                TerminalRequest { detach, console_socket },
            )
        };
        let master = |terminal, detach, socket| {
            with(terminal, detach, socket).expect("a plan").map(|plan| plan.master)
        };
        assert_eq!(master(false, false, None), None);
        assert_eq!(master(false, true, None), None);
        assert_eq!(master(true, false, None), Some(Master::Runtime));
        assert_eq!(master(true, true, socket), Some(Master::Socket("/run/console".into())));
        let nobody = with(true, true, None).expect_err("nobody shows it");
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
