//! stub
mod problems;
pub use problems::Problems;
