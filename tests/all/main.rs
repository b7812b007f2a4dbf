//! The integration tests, in one binary so that they link once.

mod administration;
mod audit;
mod check;
mod clients;
mod commands;
mod configuration;
mod demo;
mod documents;
mod explain;
mod faults;
mod flows;
mod golden;
mod init;
mod interference;
mod keys;
mod layering;
mod leaks;
mod questions;
mod request_path;
mod upstream;
mod wire;
mod world;
