//! The program as it is shipped, on the files of a world: a process whose operational log, at the finest level that it can be
//! set to, is kept.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Process {
    child: Child,
    log: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Process {
    /// `serve` with `configuration`, which must have an admin listener, once it says that it serves.
    pub(super) fn start(directory: &Path, configuration: &str) -> Self {
        let (file, log) = (directory.join("firebreak.toml"), directory.join("operational.log"));
        fs::write(&file, configuration).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["serve", "--config"])
            .arg(&file)
            .env("FIREBREAK_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            let told = fs::read_to_string(&log).unwrap();
            let serving = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = serving.into_iter().find(|line| line["fields"]["message"] == "serving") {
                let address = |name: &str| line["fields"][name].as_str().unwrap().parse().unwrap();
                return Self { child, log, address: address("listen"), admin: address("admin") };
            }
            assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "it does not serve: {told}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that was logged so far.
    pub(super) fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end, and gives all that it logged.
    pub(super) fn end(mut self) -> String {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(self.child.wait().unwrap().success());
        self.told()
    }
}

impl super::World {
    /// The process of this world.
    fn process_of(&self) -> &Process {
        let super::Running::There(process) = &self.running else { panic!("a process of its own is expected") };
        process
    }

    /// All that its process logged so far.
    pub(crate) fn told(&self) -> String {
        self.process_of().told()
    }

    /// Lets its process open so many files more than it has, and no more (`ulimit -n`).
    pub(crate) fn spare_files(&self, more: usize) {
        let pid = self.process_of().child.id().to_string();
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let limit = format!("--nofile={}:", open + more);
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What only a gateway in this process has; not there when it is a process of its own.
pub(crate) struct Inside<T>(pub(super) Option<T>);

impl<T> Deref for Inside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}
