//! The sources of the crate as tokens: what each file imports of the crate, how it begins, how long it is without its tests.
//!
//! Takes the files below `src`. Comments, texts and what is compiled for tests alone (`#[cfg(test)]` items, and the files of
//! `#[cfg(test)] mod x;`) count for nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed assumption fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One file that is compiled into the program.
#[derive(Debug)]
pub(super) struct Source {
    /// Below `src`: `fhir/search.rs`.
    pub(super) file: String,
    /// What it names by a path from the root of the crate, without `crate::`: `listen::Inbound`.
    pub(super) imports: BTreeSet<String>,
    /// Lines, without those of test items.
    pub(super) lines: usize,
    /// Whether it opens with a `//!` comment.
    pub(super) is_documented: bool,
}

impl Source {
    /// The top-level module it belongs to; `None` for `lib.rs` and `main.rs`.
    pub(super) fn module(&self) -> Option<&str> {
        let first = self.file.split('/').next().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        (!matches!(module, "lib" | "main")).then_some(module)
    }
}

/// All files of the program.
pub(super) fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read: Vec<(String, Read)> = files
        .iter()
        .map(|path| {
            let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let read = Read::of(&std::fs::read_to_string(path).unwrap(), &file);
            (file, read)
        })
        .collect();
    let tests: BTreeSet<&String> = read.iter().flat_map(|(_, read)| &read.test_modules).collect();
    let is_test = |file: &str| {
        tests
            .iter()
            .any(|module| file.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
    };
    read.iter()
        .filter(|(file, _)| !is_test(file))
        .map(|(file, read)| Source {
            file: file.clone(),
            imports: read.imports.clone(),
            lines: read.lines,
            is_documented: read.is_documented,
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What was read of one file.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// See [`Source::imports`].
    pub(super) imports: BTreeSet<String>,
    /// `#[cfg(test)] mod x;`, as `directory/x`.
    pub(super) test_modules: BTreeSet<String>,
    /// See [`Source::lines`].
    pub(super) lines: usize,
    /// See [`Source::is_documented`].
    pub(super) is_documented: bool,
}

impl Read {
    /// Reads `text`, which stands in `file` below `src`.
    pub(super) fn of(text: &str, file: &str) -> Self {
        let stem = file.strip_suffix(".rs").unwrap();
        let directory = match stem.rsplit_once('/') {
            Some((directory, "mod")) => directory,
            None if matches!(stem, "lib" | "main") => "",
            _ => stem,
        };
        let is_documented = text.starts_with("//!");
        let mut read = Self { is_documented, lines: text.lines().count(), ..Self::default() };
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let depth = directory.split('/').filter(|part| !part.is_empty()).count();
        read.walk(tokens, directory, depth);
        read
    }

    /// Reads tokens that stand `depth` modules below the root.
    fn walk(&mut self, tokens: TokenStream, directory: &str, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            if let Some(item) = after_cfg_test(rest) {
                let end = item_length(item);
                self.skip(rest, &item[..end], directory);
                rest = &item[end..];
                continue;
            }
            rest = after;
            match first {
                TokenTree::Ident(word) if word == "crate" => {
                    if let Some(path) = after_colons(rest) {
                        expand(path, "", &mut self.imports);
                    }
                }
                TokenTree::Ident(word) if word == "super" => {
                    let mut supers = 1;
                    let mut path = after_colons(rest);
                    while let Some([TokenTree::Ident(word), more @ ..]) = path
                        && word == "super"
                    {
                        supers += 1;
                        rest = more;
                        path = after_colons(rest);
                    }
                    // As many as there are modules above: this is the root, spelled otherwise.
                    if supers >= depth
                        && let Some(path) = path
                    {
                        expand(path, "", &mut self.imports);
                    }
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let [TokenTree::Ident(_), TokenTree::Group(body), more @ ..] = rest {
                        self.walk(body.stream(), directory, depth + 1);
                        rest = more;
                    }
                }
                TokenTree::Group(group) => self.walk(group.stream(), directory, depth),
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Leaves an item out that is for tests: its lines, and the file that it may stand for.
    fn skip(&mut self, from: &[TokenTree], item: &[TokenTree], directory: &str) {
        let begin = from.first().unwrap().span().start().line;
        let end = item.last().map_or(begin, |last| last.span().end().line);
        self.lines -= end - begin + 1;
        let words: Vec<String> = item.iter().map(ToString::to_string).collect();
        if let Some(position) = words.iter().position(|word| word == "mod")
            && let [name, semicolon, ..] = &words[position + 1..]
            && semicolon == ";"
        {
            let separator = if directory.is_empty() { "" } else { "/" };
            self.test_modules.insert(format!("{directory}{separator}{name}"));
        }
    }
}

/// What follows `#[cfg(test)]`.
fn after_cfg_test(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(attribute), rest @ ..]
            if hash.as_char() == '#' && is_cfg_test(attribute) =>
        {
            Some(rest)
        }
        _ => None,
    }
}

fn is_cfg_test(attribute: &Group) -> bool {
    attribute.delimiter() == Delimiter::Bracket && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// How many tokens an item has: up to its `;` or its block.
fn item_length(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    tokens.iter().position(is_end).map_or(tokens.len(), |position| position + 1)
}

/// What follows `::`.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(one), TokenTree::Punct(two), rest @ ..] if one.as_char() == ':' && two.as_char() == ':' => {
            Some(rest)
        }
        _ => None,
    }
}

/// Adds the paths that begin here: `listen::Inbound`, or each of `{listen::{Body, Inbound}, random}`.
fn expand(tokens: &[TokenTree], before: &str, paths: &mut BTreeSet<String>) {
    match tokens {
        [TokenTree::Ident(name), rest @ ..] => {
            let path = if before.is_empty() { name.to_string() } else { format!("{before}::{name}") };
            match after_colons(rest) {
                Some(rest) => expand(rest, &path, paths),
                None => drop(paths.insert(path)),
            }
        }
        [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
            inner.split(is_comma).for_each(|one| expand(one, before, paths));
        }
        // A turbofish or `*`: what stands before it is named.
        _ if !before.is_empty() => drop(paths.insert(before.to_owned())),
        _ => {}
    }
}
