//! `-v` and `-info`: the version and the capabilities of this shim.
//! process: start
#![allow(
    missing_docs,
    reason = "the fields are those of containerd's protocol files, which explain them"
)]

use std::collections::HashMap;

use orlop::commands::features;
use prost::Message;

use crate::messages::Any;
use crate::options::Options;
use crate::status::Failed;

/// containerd.types.RuntimeInfo.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RuntimeInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub version: Option<RuntimeVersion>,
    #[prost(message, optional, tag = "3")]
    pub options: Option<Any>,
    #[prost(message, optional, tag = "4")]
    pub features: Option<Any>,
    #[prost(map = "string, string", tag = "5")]
    pub annotations: HashMap<String, String>,
}

/// containerd.types.RuntimeVersion.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RuntimeVersion {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(string, tag = "2")]
    pub revision: String,
}

/// The name under which containerd finds this shim.
pub const NAME: &str = "io.containerd.orlop.v2";
/// The features of the runtime as JSON, with their typeurl name.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// The text of `-v`.
#[must_use]
pub fn version() -> String {
    format!(
        "containerd-shim-orlop-v2:\n  Version:  {}\n  Revision: {}\n",
        env!("CARGO_PKG_VERSION"),
        orlop::COMMIT
    )
}

/// The message of `-info`. `input` is containerd's standard input to us: options, or empty.
///
/// # Errors
/// An error if the options cannot be read, or name another runtime.
pub fn info(input: &[u8]) -> Result<Vec<u8>, Failed> {
    let any = Any::decode(input)
        .map_err(|error| Failed::invalid(format!("the options (standard input): {error}")))?;
    let options = Options::read(Some(&any))?;
    options.refuse_other_runtimes()?;
    let features = serde_json::to_vec(&features::features())
        .map_err(|error| Failed::unknown(error.to_string()))?;
    let info = RuntimeInfo {
        name: NAME.to_owned(),
        version: Some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: orlop::COMMIT.to_owned(),
        }),
        options: (!any.type_url.is_empty()).then_some(any),
        features: Some(Any { type_url: FEATURES.to_owned(), value: features }),
        annotations: HashMap::new(),
    };
    Ok(info.encode_to_vec())
}
