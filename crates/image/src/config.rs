//! The config.json of a container: the keys that an image or a flag changes. All other keys of
//! `orlop spec` are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// `process`
    pub process: ContainerProcess,
    /// `root`
    pub root: ContainerRoot,
    /// `hostname`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `mounts`
    pub mounts: Vec<ContainerMount>,
    /// `linux`
    pub linux: ContainerLinux,
    /// `annotations`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// `process` of config.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerProcess {
    /// `terminal`
    #[serde(default)]
    pub terminal: bool,
    /// `user`
    pub user: ContainerUser,
    /// `args`
    pub args: Vec<String>,
    /// `env`
    #[serde(default)]
    pub env: Vec<String>,
    /// `cwd`
    pub cwd: String,
    /// `capabilities`: the names in each set.
    #[serde(default)]
    pub capabilities: BTreeMap<String, Vec<String>>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// `process.user` of config.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerUser {
    /// `uid`
    pub uid: u32,
    /// `gid`
    pub gid: u32,
    /// `additionalGids`
    #[serde(default, rename = "additionalGids", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// `root` of config.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRoot {
    /// `readonly`
    #[serde(default)]
    pub readonly: bool,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An entry of `mounts` of config.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerMount {
    /// `destination`
    pub destination: String,
    /// `type`
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `source`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `options`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl ContainerMount {
    /// A mount with these values.
    #[must_use]
    pub fn new(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Self {
        let destination = destination.to_owned();
        Self {
            destination,
            kind: Some(kind.to_owned()),
            source: Some(source.to_owned()),
            options,
            rest: Map::new(),
        }
    }
}

/// `linux` of config.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerLinux {
    /// `namespaces`
    pub namespaces: Vec<ContainerNamespace>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An entry of `linux.namespaces` of config.json.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerNamespace {
    /// `type`
    #[serde(rename = "type")]
    pub kind: String,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ContainerConfig;

    /// Keys of other versions of the specification are not lost.
    #[test]
    fn unknown_keys_are_kept() {
        let document = json!({
            "ociVersion": "1.3.0",
            "process": {
                "terminal": true, "user": {"uid": 1, "gid": 2, "umask": 18}, "args": ["sh"],
                "env": [], "cwd": "/", "capabilities": {"bounding": ["CAP_KILL"]},
                "rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}],
            },
            "root": {"path": "rootfs", "readonly": true},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/x", "options": ["bind"],
                 "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}],
            "linux": {"namespaces": [{"type": "network", "path": "/x"}],
                "maskedPaths": ["/proc/acpi"]},
            "vm": {"x": 1},
        });
        let config: ContainerConfig = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(config).unwrap(), document);
    }
}
