//! A file for each command, or a few of a kind: flags, flow.

pub mod attach;
pub mod connection;
pub mod copy;
pub mod login;
pub mod look;
pub mod repository;
pub mod run;
pub mod source;
pub mod store;
pub mod unpack;
