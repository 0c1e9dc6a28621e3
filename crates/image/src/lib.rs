//! OCI images for orlop: from a registry or a layout on disk to a bundle that `orlop run` starts.


pub mod copy;
pub mod credentials;
pub mod digest;
pub mod document;
pub mod extent;
pub mod layout;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod registry;
