//! What several targets assert.

pub mod confined;
pub mod readers;
