//! config.json as it is in the file (OCI runtime specification 1.3, Linux). Nothing is decided
//! here.
//!
//! We do not use the types of `oci-spec`. In our types, strings are borrowed from the file, so
//! reading a config needs a tenth of the allocations, and every name is written as in the
//! specification. Tests compare our types with `oci-spec`. Unknown properties are ignored, as the
//! specification demands. `null` means absent, as in Go.

mod linux;
mod process;
mod resources;
mod seccomp;
mod text;

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use linux::{
    Device, IdMapping, IntelRdt, Linux, MemoryPolicy, Namespace, NetDevice, Personality, TimeOffset,
};
pub use process::{
    Capabilities, ConsoleSize, ExecCpuAffinity, IoPriority, Process, Rlimit, Scheduler, User,
};
pub use resources::{
    BlockIo, Cpu, DeviceCgroup, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompArg, SeccompSyscall};
pub use text::{Map, Text};

/// The whole document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config<'a> {
    /// Version of the specification that the bundle was made for.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub oci_version: Text<'a>,
    /// The program; absent only if the container is never started.
    #[serde(default, deserialize_with = "maybe_object")]
    pub process: Option<Process<'a>>,
    /// The root filesystem.
    #[serde(default, deserialize_with = "maybe_object")]
    pub root: Option<Root<'a>>,
    /// Host name in the UTS namespace.
    #[serde(default, deserialize_with = "nullable")]
    pub hostname: Text<'a>,
    /// NIS domain name in the UTS namespace.
    #[serde(default, deserialize_with = "nullable")]
    pub domainname: Text<'a>,
    /// Mounts, in order.
    #[serde(default, deserialize_with = "nullable")]
    pub mounts: Vec<Mount<'a>>,
    /// Programs to run at six points in the container's life.
    #[serde(default, deserialize_with = "object")]
    pub hooks: Hooks,
    /// Strings that we only copy to the state.
    #[serde(default, deserialize_with = "nullable")]
    pub annotations: Map<'a, Text<'a>>,
    /// Everything that is specific to Linux.
    #[serde(default, deserialize_with = "object")]
    pub linux: Linux<'a>,
}

/// `root`.
#[derive(Debug, Deserialize)]
pub struct Root<'a> {
    /// Directory of the root filesystem, absolute or relative to the bundle.
    #[serde(borrow)]
    pub path: Text<'a>,
    /// Whether it is read-only in the container.
    #[serde(default, deserialize_with = "nullable")]
    pub readonly: bool,
}

/// One of `mounts`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount<'a> {
    /// Path in the container.
    #[serde(borrow)]
    pub destination: Text<'a>,
    /// Filesystem type. `bind` and `none` count as no type.
    #[serde(default, rename = "type", deserialize_with = "nullable")]
    pub kind: Text<'a>,
    /// Device name, or the file or directory to bind.
    #[serde(default, deserialize_with = "nullable")]
    pub source: Text<'a>,
    /// Options of mount(8). Unknown ones are passed to the filesystem.
    #[serde(default, deserialize_with = "nullable")]
    pub options: Vec<Text<'a>>,
    /// User ids of an idmapped mount.
    #[serde(default, deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of an idmapped mount.
    #[serde(default, deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
}

/// `hooks`. The strings are owned, because `start` and `delete` read the hooks from state.json.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated. They run as `createRuntime` hooks do, and before them.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// Run in the runtime's namespaces, after the container's namespaces and mounts are made and
    /// before pivot_root.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// Run in the container's namespaces, before pivot_root.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Run in the container, just before the program.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// Run in the runtime's namespaces, after the program was executed.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// Run in the runtime's namespaces, after the container was deleted.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: String,
    /// Its argv, including `argv[0]`. If absent, argv is only the path.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment. If absent, the environment depends on the kind of hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Seconds until it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// Reads `null` as the default.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// As [`nullable`], for objects: serde alone would also accept an array.
fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    maybe_object(deserializer).map(Option::unwrap_or_default)
}

/// An object or `null`.
fn maybe_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Object<T>>::deserialize(deserializer).map(|object| object.map(|Object(value)| value))
}

/// A value that is written as an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}
