//! Reading a file of checkpoints, one after the other, in bounded memory.
//!
//! Takes the file beside a log or one that was kept elsewhere; gives the texts. Does not look at what they say.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::log::CHECKPOINTS;
use super::storage::{Found, read_line, reader};

/// The checkpoints of a file, one after the other.
pub(super) struct Stored {
    reader: Option<Box<dyn BufRead>>,
}

/// What comes next in it.
pub(super) enum Next {
    /// A text up to the empty line after its signatures; whether it is a checkpoint is not looked at here.
    Note(String),
    /// Text at the end that is not followed by an empty line.
    Torn(String),
    /// Nothing more.
    End,
}

impl Stored {
    /// Those that are there now: a log may be written while it is read, and what a checkpoint covers is there before it.
    pub(super) fn beside(directory: &Path) -> io::Result<Self> {
        match reader(directory, CHECKPOINTS, 0) {
            Ok(reader) => {
                let length = reader.get_ref().metadata()?.len();
                Ok(Self { reader: Some(Box::new(reader.take(length))) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { reader: None }),
            Err(error) => Err(error),
        }
    }

    /// Those of a file that was kept elsewhere.
    pub(super) fn kept(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: Some(Box::new(BufReader::new(File::open(path)?))) })
    }

    /// The next one.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        const LONGEST: usize = 64 * 1024;
        let Some(reader) = &mut self.reader else { return Ok(Next::End) };
        let (mut text, mut line) = (Vec::new(), Vec::new());
        let mut signed = false;
        loop {
            match read_line(reader.as_mut(), &mut line)? {
                Found::End if text.is_empty() => return Ok(Next::End),
                Found::Line if line.is_empty() && signed => {
                    return Ok(Next::Note(String::from_utf8_lossy(&text).into_owned()));
                }
                Found::Line if text.len() < LONGEST => {
                    signed |= line.starts_with("— ".as_bytes());
                    text.extend_from_slice(&line);
                    text.push(b'\n');
                }
                Found::Line => return Ok(Next::Note(String::new())),
                Found::End | Found::Torn => {
                    text.extend_from_slice(&line);
                    return Ok(Next::Torn(String::from_utf8_lossy(&text).into_owned()));
                }
            }
        }
    }
}
