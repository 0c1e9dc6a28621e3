//! The code for paths that `orlop` and `orlop-image` share: look-ups below a root ([`lookup`]), and
//! the check whether a directory can be trusted ([`trust`]).
//!
//! The two programs share this crate and nothing else (docs/design/images-apart.md).

pub mod lookup;
pub mod trust;
