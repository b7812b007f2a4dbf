//! The integration tests, in one binary so that they link once.

mod audit;
mod commands;
mod faults;
mod flows;
mod interference;
mod keys;
mod request_path;
mod upstream;
mod wire;
mod world;
