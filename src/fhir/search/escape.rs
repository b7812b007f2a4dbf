//! The escapes inside search values: `\,` `\$` `\|` `\\` (R4 search.html section 3.1.1.4.1).

/// The alternatives of a value, split at every `,` that is not escaped and left in escaped form. `None` when one is empty, or
/// a `\` stands before anything else than `,`, `$`, `|` and `\`.
#[must_use]
pub fn split_alternatives(value: &str) -> Option<Vec<String>> {
    let mut alternatives = Vec::with_capacity(1);
    let mut current = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters.next().filter(|escaped| matches!(escaped, ',' | '$' | '|' | '\\'))?;
                current.push('\\');
                current.push(escaped);
            }
            ',' => alternatives.push(std::mem::take(&mut current)),
            other => current.push(other),
        }
    }
    alternatives.push(current);
    alternatives.iter().all(|alternative| !alternative.is_empty()).then_some(alternatives)
}

/// The text that an escaped form stands for, its separators `|` and `$` indistinguishable from escaped ones.
#[must_use]
pub fn unescape(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text
}

/// The escaped form of a text in which nothing is a separator.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, ',' | '$' | '|' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
