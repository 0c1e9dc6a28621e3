//! A container's config.json, as far as an image or a flag has a say in it. What `orlop spec`
//! writes besides is kept as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// `process`
    pub process: Process,
    /// `root`
    pub root: Root,
    /// `hostname`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// `linux`
    pub linux: Linux,
    /// `annotations`
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// `terminal`
    #[serde(default)]
    pub terminal: bool,
    /// `user`
    pub user: ProcessUser,
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

/// Whom the program runs as.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessUser {
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

/// The root filesystem.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// `readonly`
    #[serde(default)]
    pub readonly: bool,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One of the mounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
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

impl Mount {
    /// A mount of this type with these options.
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

/// What is Linux's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Linux {
    /// `namespaces`
    pub namespaces: Vec<Namespace>,
    /// All other keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One of the namespaces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Namespace {
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
    fn what_is_not_known_is_kept() {
        let document = json!({
            "ociVersion": "1.3.0",
            "process": {
                "terminal": true, "user": {"uid": 1, "gid": 2, "umask": 18}, "args": ["sh"], "env": [], "cwd": "/",
                "capabilities": {"bounding": ["CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}],
            },
            "root": {"path": "rootfs", "readonly": true},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/x", "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}],
            "linux": {"namespaces": [{"type": "network", "path": "/x"}], "maskedPaths": ["/proc/acpi"]},
            "vm": {"x": 1},
        });
        let config: ContainerConfig = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(config).unwrap(), document);
    }
}
