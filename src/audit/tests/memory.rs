//! A disk in memory that can crash, fail, fill up, stall, and lie.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Cursor};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::super::log::segment_start;
use super::super::storage::Storage;

#[derive(Clone, Default)]
pub(super) struct Memory(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
pub(super) struct State {
    files: BTreeMap<String, Content>,
    /// The disk crashes at this operation, counted from now.
    pub(super) crash_after: Option<u32>,
    /// What the directory does not let anybody do.
    pub(super) refuses: Option<Change>,
    /// Each append writes half and fails in this way.
    pub(super) append_fails: Option<io::ErrorKind>,
    /// So many syncs fail, once those before them went well.
    pub(super) sync_fails: Option<(u32, u32)>,
    /// A sync says that all is well and does nothing.
    pub(super) lies: bool,
    /// A sync does not come back.
    pub(super) stalled: bool,
    pub(super) free: Option<u64>,
    pub(super) syncs: u32,
    waiting: u32,
}

/// A change of a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// A new file.
    Create,
    /// A file in place of another.
    Replace,
}

#[derive(Clone, Default)]
struct Content {
    /// What a read sees.
    cached: Vec<u8>,
    /// What a crash leaves.
    durable: Vec<u8>,
    /// What a failed sync dropped: a read still sees it, and no later sync writes it.
    dropped: Vec<Range<usize>>,
}

impl Content {
    fn sync(&mut self) {
        self.durable.clone_from(&self.cached);
        for range in &self.dropped {
            self.durable.get_mut(range.clone()).unwrap().fill(0);
        }
    }
}

impl Memory {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Lets a stalled sync go on.
    pub(super) fn release(&self) {
        self.state().stalled = false;
        self.0.1.notify_all();
    }

    /// Returns when a sync is stalled.
    pub(super) fn wait_until_stalled(&self) {
        let mut state = self.state();
        while state.waiting == 0 {
            state = self.0.1.wait(state).unwrap();
        }
    }

    /// Writes the files as a crash leaves them: what is durable, and `torn` bytes of what is not.
    pub(super) fn crash_into(&self, directory: &Path, torn: usize) {
        for (name, content) in &self.state().files {
            let mut bytes = content.durable.clone();
            let rest = content.cached.get(bytes.len()..).unwrap_or_default();
            bytes.extend_from_slice(rest.get(..torn.min(rest.len())).unwrap());
            fs::write(directory.join(name), bytes).unwrap();
        }
    }

    /// All segments as a read sees them.
    pub(super) fn lines(&self) -> Vec<u8> {
        let state = self.state();
        let segments = state.files.iter().filter(|(name, _)| segment_start(name).is_some());
        segments.flat_map(|(_, content)| content.cached.clone()).collect()
    }

    fn operation(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match &mut state.crash_after {
            Some(0) => return Err(io::Error::other("crashed")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }
}

fn file<'a>(state: &'a mut State, name: &str) -> io::Result<&'a mut Content> {
    state.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Storage for Memory {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn size(&mut self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.state().files.get(name).map(|content| content.cached.len() as u64))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.operation()?;
        if state.refuses == Some(Change::Create) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let empty = state.files.entry(name.to_owned()).or_default().cached.is_empty();
        if empty { Ok(()) } else { Err(io::ErrorKind::AlreadyExists.into()) }
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.operation()?;
        let fails = state.append_fails;
        let written = if fails.is_some() { bytes.len() / 2 } else { bytes.len() };
        file(&mut state, name)?.cached.extend_from_slice(bytes.get(..written).unwrap());
        fails.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.operation()?;
        state.syncs += 1;
        state.waiting += 1;
        self.0.1.notify_all();
        while state.stalled {
            state = self.0.1.wait(state).unwrap();
        }
        state.waiting -= 1;
        let (lies, fails) = (state.lies, state.sync_fails);
        if let Some((after, times)) = &mut state.sync_fails {
            if *after > 0 {
                *after -= 1;
            } else {
                *times = times.saturating_sub(1);
            }
        }
        let content = file(&mut state, name)?;
        if fails.is_some_and(|(after, times)| after == 0 && times > 0) {
            content.dropped.push(content.durable.len()..content.cached.len());
            return Err(io::Error::other("input/output error"));
        }
        if !lies {
            content.sync();
        }
        Ok(())
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut state = self.operation()?;
        let content = file(&mut state, name)?;
        let size = usize::try_from(size).unwrap();
        if content.cached.len() < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.cached.truncate(size);
        for range in &mut content.dropped {
            range.end = range.end.min(size).max(range.start.min(size));
            range.start = range.start.min(size);
        }
        content.sync();
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.operation()?;
        if state.refuses == Some(Change::Replace) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let content = Content { cached: bytes.to_vec(), durable: bytes.to_vec(), dropped: Vec::new() };
        state.files.insert(name.to_owned(), content);
        Ok(())
    }

    fn reader(&mut self, name: &str, offset: u64) -> io::Result<Box<dyn BufRead + '_>> {
        let mut state = self.operation()?;
        let mut cursor = Cursor::new(file(&mut state, name)?.cached.clone());
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }

    fn available(&mut self) -> io::Result<u64> {
        Ok(self.state().free.unwrap_or(u64::MAX))
    }
}
