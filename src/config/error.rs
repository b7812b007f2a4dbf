//! Why there is no configuration: everything that is wrong, at once.

use super::Mistake;

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(String),
    /// Everything that is wrong in it, in the order of its lines.
    Mistakes(Vec<Mistake>),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(text) => f.write_str(text),
            Self::Mistakes(mistakes) => {
                for (number, mistake) in mistakes.iter().enumerate() {
                    if number > 0 {
                        f.write_str("\n")?;
                    }
                    write!(f, "{mistake}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}
