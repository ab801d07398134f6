//! What `kobel.toml` says of secrets in log lines: the tables `[[logs.redact]]`.

use kobel_hub::logs::{Redaction, RedactionError, Rule};
use serde::{Deserialize, Deserializer, de};

/// The table `logs`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Logs {
    /// Rules beside those by default, in their order.
    #[serde(default)]
    pub redact: Vec<Redact>,
}

/// One table `[[logs.redact]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redact {
    /// What people call it.
    name: String,
    /// What to look for.
    regex: Pattern,
    /// What stands there instead.
    #[serde(default = "stars")]
    mask: String,
}

/// A pattern that can be used: a bad one is told with its line in the file.
#[derive(Debug, Clone)]
struct Pattern(String);

fn stars() -> String {
    "***".into()
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = String::deserialize(deserializer)?;
        let rule = Rule { name: String::new(), pattern, mask: String::new() };
        match Redaction::new(std::slice::from_ref(&rule)) {
            Ok(_) => Ok(Self(rule.pattern)),
            Err(RedactionError::Pattern { reason, .. }) => Err(de::Error::custom(format!(
                "this regex cannot be used: {reason}. Write it in single quotes, so that TOML leaves \
                 its backslashes, and in the syntax of https://docs.rs/regex"
            ))),
            Err(other) => Err(de::Error::custom(other)),
        }
    }
}

/// The rules by default, where they are wanted, and then those of the file.
///
/// # Errors
/// Where they are too many, or too large, together.
pub(super) fn redaction(defaults: bool, logs: Logs) -> Result<Redaction, RedactionError> {
    let mut rules = if defaults { Redaction::default_rules() } else { Vec::new() };
    rules.extend(logs.redact.into_iter().map(|Redact { name, regex, mask }| Rule {
        name,
        pattern: regex.0,
        mask,
    }));
    Redaction::new(&rules)
}
