//! The words of SMART App Launch 2.2: scopes v1 and v2, launch context, capabilities.

pub mod scope;
