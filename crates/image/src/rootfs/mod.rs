//! Makes a root filesystem from layers ([layer.md] of image-spec).
//!
//! No file of the tree is used by a path of the host. [`tree`] has a handle of the root and looks
//! directories up below it with openat2(2). All other calls get such a directory and one name in
//! it. So no entry of a layer can change a file outside of the tree, even if earlier entries or
//! layers have made links.
//!
//! [layer.md]: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md

mod apply;
mod metadata;
mod name;
mod remove;
pub mod tree;
mod whiteout;

pub use apply::{Applier, Owners};
pub use metadata::clear_acls;
pub use remove::remove;
pub use tree::Tree;
