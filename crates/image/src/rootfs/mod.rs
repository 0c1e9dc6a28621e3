//! A root filesystem, made of layers ([layer.md] of image-spec).
//!
//! The tree is never named by a path of the host: [`tree`] holds a handle of its root, finds
//! directories below it with openat2(2), and everything else happens to a name in such a directory.
//! So no entry of a layer can leave the tree, whatever links earlier entries or layers have put
//! there.
//!
//! [layer.md]: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md

mod apply;
mod metadata;
mod name;
mod remove;
pub mod tree;
mod whiteout;

pub use apply::{Allowance, Applier, Limits, Owners};
pub use metadata::clear_acls;
pub use remove::remove;
pub use tree::Tree;
