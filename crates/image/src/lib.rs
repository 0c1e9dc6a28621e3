//! OCI images for orlop: copies them between registries, layouts and archives, unpacks them to
//! bundles, and runs them with `orlop`.

pub mod annotation;
pub mod budget;
pub mod bundle;
pub mod commands;
pub mod compression;
pub mod config;
pub mod convert;
pub mod copy;
pub mod credentials;
pub mod digest;
pub mod document;
pub mod extent;
pub mod image;
pub mod image_archive;
pub mod interrupt;
pub mod layer;
pub mod layout;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod runtime;
pub mod size;
pub mod store;
pub mod tar_stream;
pub mod user_namespace;
pub mod users;
