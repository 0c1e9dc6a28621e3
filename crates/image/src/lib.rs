//! OCI images for orlop: from a registry or a layout on disk to a bundle that `orlop run` starts.

pub mod annotation;
pub mod archive;
pub mod bundle;
pub mod commands;
pub mod compression;
pub mod convert;
pub mod copy;
pub mod credentials;
pub mod digest;
pub mod document;
pub mod extent;
pub mod image;
pub mod interrupt;
pub mod layer;
pub mod layout;
pub mod packed;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod runtime;
pub mod size;
pub mod store;
pub mod user_namespace;
pub mod users;
