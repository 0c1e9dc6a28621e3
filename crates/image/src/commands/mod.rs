//! A file for each command: its flags, its flow.

pub mod source;
pub mod unpack;
