//! The options of a container: runc's, or those that CRI wraps in TOML; and the files of the bundle
//! with them.
//! process: start, daemon, worker

use std::io::Write;
use std::path::Path;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::messages::Any;
use crate::status::Failed;

/// containerd.runc.v1.Options. As JSON it is `options.json` of the bundle.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Do not use pivot_root.
    #[prost(bool, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub no_pivot_root: bool,
    /// Do not create a session keyring.
    #[prost(bool, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    pub no_new_keyring: bool,
    /// The cgroup of the shim.
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    pub shim_cgroup: String,
    /// The user who owns the pipes of stdio.
    #[prost(uint32, tag = "4")]
    #[serde(skip_serializing_if = "is_default")]
    pub io_uid: u32,
    /// The group of these pipes.
    #[prost(uint32, tag = "5")]
    #[serde(skip_serializing_if = "is_default")]
    pub io_gid: u32,
    /// The runtime. It is linked in, so only orlop is accepted.
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    pub binary_name: String,
    /// The state root, without the namespace.
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "is_default")]
    pub root: String,
    /// Let systemd create the cgroup.
    #[prost(bool, tag = "9")]
    #[serde(skip_serializing_if = "is_default")]
    pub systemd_cgroup: bool,
    /// The directory for images of checkpoints.
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "is_default")]
    pub criu_image_path: String,
    /// criu's working directory.
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "is_default")]
    pub criu_work_path: String,
    /// Accepted and ignored, as the Go shim does.
    #[prost(string, tag = "12")]
    #[serde(skip_serializing_if = "is_default")]
    pub task_api_address: String,
    /// Accepted and ignored.
    #[prost(uint32, tag = "13")]
    #[serde(skip_serializing_if = "is_default")]
    pub task_api_version: u32,
}

/// runtimeoptions.v1.Options.
#[derive(Clone, PartialEq, Eq, Message)]
struct Wrapped {
    /// The type of the file or the body.
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    config_path: String,
    #[prost(bytes = "vec", tag = "3")]
    config_body: Vec<u8>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The type name of runc's options.
pub const RUNC: &str = "containerd.runc.v1.Options";
const WRAPPED: &str = "runtimeoptions.v1.Options";
const FILE: &str = "options.json";

/// The state root if `Root` is not set: that of the Go shim.
const ROOT: &str = "/run/containerd/runc";

impl Options {
    /// Reads options. Missing ones have their defaults.
    ///
    /// # Errors
    /// An error for another type or invalid content.
    pub fn read(any: Option<&Any>) -> Result<Self, Failed> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
            return Ok(Self::default());
        };
        let kind = any.type_url.rsplit('/').next().unwrap_or_default();
        let broken =
            |error: prost::DecodeError| Failed::invalid(format!("the options ({kind}): {error}"));
        match kind {
            RUNC => Self::decode(&*any.value).map_err(broken),
            WRAPPED => {
                let wrapped = Wrapped::decode(&*any.value).map_err(broken)?;
                let text = match &*wrapped.config_path {
                    "" => wrapped.config_body,
                    path => read_regular(path)?,
                };
                Self::from_toml(&String::from_utf8_lossy(&text))
            }
            _ => Err(Failed::invalid(format!(
                "the options are of an unknown type, {kind:?} (known: {RUNC}, {WRAPPED})"
            ))),
        }
    }

    /// Reads keys of TOML without tables. They are those of runc's options, in upper or lower case.
    fn from_toml(text: &str) -> Result<Self, Failed> {
        let mut options = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let broken = |why: &str| {
                Failed::invalid(format!("the options, line {}: {why}: {line}", index + 1))
            };
            if line.starts_with('[') {
                return Err(broken("tables are not known here, only keys"));
            }
            let (key, value) =
                line.split_once('=').ok_or_else(|| broken("no TOML, there is no `=`"))?;
            let value = Value::read(value.trim())
                .ok_or_else(|| broken("the value is neither \"text\", true, false nor a number"))?;
            options
                .set(key.trim().trim_matches(['"', '\'']), value)
                .map_err(|()| broken("the value is of another type than this key's"))?;
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: Value) -> Result<(), ()> {
        let key = key.to_ascii_lowercase().replace('_', "");
        match (&*key, value) {
            ("nopivotroot", Value::Bool(value)) => self.no_pivot_root = value,
            ("nonewkeyring", Value::Bool(value)) => self.no_new_keyring = value,
            ("systemdcgroup", Value::Bool(value)) => self.systemd_cgroup = value,
            ("shimcgroup", Value::Text(value)) => self.shim_cgroup = value,
            ("binaryname", Value::Text(value)) => self.binary_name = value,
            ("root", Value::Text(value)) => self.root = value,
            ("criuimagepath", Value::Text(value)) => self.criu_image_path = value,
            ("criuworkpath", Value::Text(value)) => self.criu_work_path = value,
            ("taskapiaddress", Value::Text(value)) => self.task_api_address = value,
            ("iouid", Value::Number(value)) => self.io_uid = value,
            ("iogid", Value::Number(value)) => self.io_gid = value,
            ("taskapiversion", Value::Number(value)) => self.task_api_version = value,
            (
                "nopivotroot" | "nonewkeyring" | "systemdcgroup" | "shimcgroup" | "binaryname"
                | "root" | "criuimagepath" | "criuworkpath" | "taskapiaddress" | "iouid" | "iogid"
                | "taskapiversion",
                _,
            ) => return Err(()),
            _ => log::warn!("the options: {key} is unknown and is ignored"),
        }
        Ok(())
    }

    /// Refuses other runtimes. `runc` is accepted, since containerd's default configuration names
    /// it.
    ///
    /// # Errors
    /// An error if BinaryName names another runtime.
    pub fn refuse_other_runtimes(&self) -> Result<(), Failed> {
        let name = self.binary_name.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "runc" | "orlop" | "containerd-shim-orlop-v2")
            && !self.is_broken_path()
        {
            return Ok(());
        }
        let text = format!(
            "BinaryName is {:?}, but this shim has its runtime, orlop, built in: \
             leave it out, or use io.containerd.runc.v2",
            self.binary_name
        );
        Err(Failed::invalid(text))
    }

    /// Whether BinaryName is a path that does not exist.
    fn is_broken_path(&self) -> bool {
        self.binary_name.contains('/') && std::fs::metadata(&self.binary_name).is_err()
    }

    /// The state root for containers of this namespace.
    #[must_use]
    pub fn state_root(&self, namespace: &str) -> String {
        let root = if self.root.is_empty() { ROOT } else { &self.root };
        format!("{root}/{namespace}")
    }

    /// Writes the options to the bundle, for `delete`, and BinaryName to a file of its own, as the
    /// Go shim does.
    ///
    /// # Errors
    /// Errors of the calls.
    pub fn keep(&self, bundle: &Path) -> std::io::Result<()> {
        replace(bundle, FILE, &serde_json::to_vec(self).unwrap_or_default())?;
        replace(bundle, "runtime", self.binary_name.as_bytes())
    }

    /// Reads the options from the bundle. Without the file, all have their defaults.
    ///
    /// # Errors
    /// Errors of the calls; an error for invalid JSON.
    pub fn kept(bundle: &Path) -> std::io::Result<Self> {
        match std::fs::read(bundle.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            text => Ok(serde_json::from_slice(&text?)?),
        }
    }
}

/// Replaces a file of the bundle atomically: it is written under another name and renamed.
///
/// # Errors
/// Errors of the calls.
pub fn replace(bundle: &Path, name: &str, text: &[u8]) -> std::io::Result<()> {
    let new = bundle.join(format!(".{name}"));
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&new)?;
    file.write_all(text)?;
    std::fs::rename(&new, bundle.join(name))
}

/// Reads a file of the configuration. It must be a regular file, since reading another file may
/// never end.
fn read_regular(path: &str) -> Result<Vec<u8>, Failed> {
    let wrong = |error: std::io::Error| {
        Failed::invalid(format!("the options (ConfigPath): open({path:?}): {error}"))
    };
    if !std::fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(Failed::invalid(format!("the options (ConfigPath): {path:?} is no file")));
    }
    std::fs::read(path).map_err(wrong)
}

/// A value of TOML.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Bool(bool),
    Number(u32),
    Text(String),
}

impl Value {
    fn read(text: &str) -> Option<Self> {
        let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
        if let Some(quote) = quote {
            let (inside, rest) = text.get(1..)?.split_once(quote)?;
            let rest = rest.trim();
            if (!rest.is_empty() && !rest.starts_with('#'))
                || (quote == '"' && inside.contains('\\'))
            {
                return None;
            }
            return Some(Self::Text(inside.to_owned()));
        }
        match text.split('#').next()?.trim() {
            "true" => Some(Self::Bool(true)),
            "false" => Some(Self::Bool(false)),
            number => number.replace('_', "").parse().ok().map(Self::Number),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Options, RUNC, WRAPPED, Wrapped};
    use crate::messages::Any;

    fn wrapped(text: &str) -> Any {
        let value =
            Wrapped { config_body: text.as_bytes().to_vec(), ..Wrapped::default() }.encode_to_vec();
        Any { type_url: WRAPPED.to_owned(), value }
    }

    #[test]
    fn toml_says_the_same_as_runc_s_options() {
        let wanted =
            Options { root: "/r".into(), systemd_cgroup: true, io_uid: 7, ..Options::default() };
        let text =
            "# of CRI\nRoot = \"/r\"\nSystemdCgroup = true # yes\n  IoUid=7\nUnknown = 'x'\n";
        assert_eq!(Options::read(Some(&wrapped(text))), Ok(wanted.clone()));
        let runc =
            Any { type_url: format!("type.googleapis.com/{RUNC}"), value: wanted.encode_to_vec() };
        assert_eq!(Options::read(Some(&runc)), Ok(wanted));
        assert_eq!(Options::read(None), Ok(Options::default()));
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        for (text, told) in [
            ("Root", "line 1: no TOML"),
            ("\nRoot = moon", "line 2: the value is neither"),
            ("Root = \"x", "line 1: the value is neither"),
            ("Root = true", "line 1: the value is of another type"),
            ("[table]", "line 1: tables"),
        ] {
            let failed = Options::read(Some(&wrapped(text))).expect_err(text);
            assert!(failed.text.contains(told), "{text}: {failed}");
        }
        let other = Any { type_url: "moon.v1.Options".into(), value: Vec::new() };
        assert!(
            Options::read(Some(&other)).expect_err("unknown").text.contains("\"moon.v1.Options\"")
        );
    }

    #[test]
    fn another_runtime_is_refused_by_name() {
        for (name, good) in [
            ("", true),
            ("runc", true),
            ("orlop", true),
            ("crun", false),
            ("/no/such/orlop", false),
        ] {
            let options = Options { binary_name: name.into(), ..Options::default() };
            assert_eq!(options.refuse_other_runtimes().is_ok(), good, "{name}");
        }
    }
}
