//! Behaviour tests of `orlop-image`, from outside. They need root, busybox-static, umoci, attr,
//! docker-registry, skopeo, openssl, apache2-utils, iproute2, and orlop itself: `cargo build`
//! beside this package, or `$ORLOP`.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should panic, and works on trusted paths"
)]

mod support;

mod archives;
mod attacks;
mod bad_copies;
mod bad_input;
mod containers;
mod convert;
mod credentials;
mod endpoints;
mod faults;
mod manual;
mod platforms;
mod progress;
mod proxies;
mod registry;
mod rootless;
mod run;
mod store;
mod tokens;
mod unpack;
mod url_policy;
