//! The commands, one or a few similar ones in a file, with their flags and their flow.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "they are texts of --help: in brackets is what may be left out"
)]

pub mod attach;
pub mod connection_args;
pub mod copy;
pub mod image_args;
pub mod inspect;
pub mod login;
pub mod repository;
pub mod run;
pub mod store;
pub mod unpack;
