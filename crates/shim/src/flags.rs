//! The command line, in Go's style as containerd writes it: `-id X`, `--id X` and `-id=X` are the
//! same. The first word that is not a flag is the action.
//! process: start

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::status::Failed;

/// The parsed command line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Flags {
    /// containerd's namespace.
    pub namespace: String,
    /// The container.
    pub id: String,
    /// containerd's socket. The name of our socket depends on it.
    pub address: String,
    /// Ignored: events are sent to `TTRPC_ADDRESS`.
    pub publish_binary: String,
    /// The bundle, for `delete`.
    pub bundle: String,
    /// Ignored: the daemon inherits its socket.
    pub socket: String,
    /// Log debug lines.
    pub debug: bool,
    /// Print the version.
    pub version: bool,
    /// Print the capabilities of this shim.
    pub info: bool,
    /// `start`, `delete`, or empty.
    pub action: String,
}

impl Flags {
    /// Parses the words after the program's name.
    ///
    /// # Errors
    /// An error for an unknown flag, or a flag without its value.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Failed> {
        let mut flags = Self::default();
        let mut words =
            words.into_iter().map(|word| String::from_utf8_lossy(&word.into_vec()).into_owned());
        while let Some(word) = words.next() {
            let Some(name) = word
                .strip_prefix("--")
                .or_else(|| word.strip_prefix('-'))
                .filter(|name| !name.is_empty())
            else {
                flags.action = word;
                break;
            };
            let (name, value) =
                name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
            if let Some(switch) = flags.switch(name) {
                *switch = match value {
                    None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                    Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                    Some(value) => {
                        return Err(Failed::invalid(format!(
                            "invalid boolean value {value:?} for -{name}"
                        )));
                    }
                };
                continue;
            }
            let unknown = || Failed::invalid(format!("flag provided but not defined: -{name}"));
            let text = flags.text(name).ok_or_else(unknown)?;
            let needs = || Failed::invalid(format!("flag needs an argument: -{name}"));
            *text = value.map(str::to_owned).or_else(|| words.next()).ok_or_else(needs)?;
        }
        Ok(flags)
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "debug" => Some(&mut self.debug),
            "v" | "version" => Some(&mut self.version),
            "info" => Some(&mut self.info),
            _ => None,
        }
    }

    fn text(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "namespace" => Some(&mut self.namespace),
            "id" => Some(&mut self.id),
            "address" => Some(&mut self.address),
            "publish-binary" => Some(&mut self.publish_binary),
            "bundle" => Some(&mut self.bundle),
            "socket" | "debug-socket" => Some(&mut self.socket),
            _ => None,
        }
    }

    /// Checks the flags that `start` and `delete` need.
    ///
    /// # Errors
    /// An error if the namespace or the id is missing, or if the id could be a path out of the
    /// directories that are named after it.
    pub fn need_container(&self) -> Result<(), Failed> {
        for (name, value) in [("namespace", &self.namespace), ("id", &self.id)] {
            if value.is_empty() {
                return Err(Failed::invalid(format!("the {name} is missing (-{name})")));
            }
            if value.contains('/') || value == "." || value == ".." {
                return Err(Failed::invalid(format!(
                    "the {name} {value:?} is not a valid name (-{name})"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Flags;

    fn read(line: &str) -> Result<Flags, String> {
        Flags::read(line.split_whitespace().map(Into::into)).map_err(|failed| failed.text)
    }

    #[test]
    fn flags_are_go_s() {
        let wanted = Flags {
            namespace: "n".into(),
            id: "i".into(),
            address: "/a".into(),
            debug: true,
            action: "start".into(),
            ..Flags::default()
        };
        for line in [
            "-namespace n -id i -address /a -debug start",
            "--namespace=n --id i -address=/a -debug=true start",
            "-debug=1 -namespace n -id i -address /a start -version",
        ] {
            assert_eq!(read(line), Ok(wanted.clone()), "{line}");
        }
        assert_eq!(read("-v").map(|flags| flags.version), Ok(true));
        assert_eq!(read("-info").map(|flags| flags.info), Ok(true));
    }

    #[test]
    fn what_is_not_a_flag_is_refused() {
        assert_eq!(read("-moon start"), Err("flag provided but not defined: -moon".into()));
        assert_eq!(read("-id"), Err("flag needs an argument: -id".into()));
        assert_eq!(read("-debug=maybe"), Err("invalid boolean value \"maybe\" for -debug".into()));
    }

    #[test]
    fn a_container_has_a_namespace_and_an_id() {
        for (line, text) in [
            ("start", "the namespace is missing (-namespace)"),
            ("-namespace n start", "the id is missing (-id)"),
            ("-namespace n -id ../x start", "the id \"../x\" is not a valid name (-id)"),
            ("-namespace .. -id x start", "the namespace \"..\" is not a valid name (-namespace)"),
        ] {
            let refused =
                read(line).and_then(|flags| flags.need_container().map_err(|failed| failed.text));
            assert_eq!(refused, Err(text.to_owned()), "{line}");
        }
    }
}
