//! stub
pub mod error;
pub mod plan;
pub mod spec;
pub mod sys;
