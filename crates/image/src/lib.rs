//! OCI images for orlop: from a registry or a layout on disk to a bundle that `orlop run` starts.

pub mod credentials;
pub mod digest;
pub mod document;
pub mod layout;
pub mod platform;
pub mod reference;
