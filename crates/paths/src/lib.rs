//! What `orlop` and `orlop-image` both need of paths: look-ups below a root ([`lookup`]), and
//! whether a directory can be trusted ([`trust`]).
//!
//! The two programs share this crate and nothing else (docs/design/images-apart.md).

pub mod lookup;
pub mod trust;
