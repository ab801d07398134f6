//! Which lines a viewer wants.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use kobel_wire::log::{FieldValue, Level, LogLine, LogOutput};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::redact;

/// The longest text or regular expression, in bytes.
const LONGEST: usize = 1000;

/// The most fields of one filter.
const FIELDS: usize = 20;

/// The most that a regular expression may become when compiled, and its cache, bytes.
const SIZE: usize = 1 << 20;

/// Why a filter is refused: the field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct FilterError {
    /// The field of the filter, such as `regex`.
    pub field: &'static str,
    /// In words.
    pub reason: String,
}

/// What a filter asks for. Two that ask for the same are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Wanted {
    level: Option<Level>,
    /// In lower case.
    text: Option<String>,
    regex: Option<String>,
    inverse: bool,
    stream: Option<LogOutput>,
    fields: BTreeMap<String, String>,
}

/// A filter: `{level, text, regex, inverse, stream, fields}`, each absent or narrowing what passes.
///
/// - `level`: at least so grave; a line without a level counts as `info`.
/// - `text`: is in the line, in any case; `regex`: matches it, in the syntax of the `regex` crate
///   (`(?i)` for any case). Both look at the message, and at the line as it came.
/// - `inverse`: lines for which `text` and `regex` do not hold.
/// - `stream`: `"stdout"` or `"stderr"`.
/// - `fields`: each of these fields is there and written so.
///
/// Markers pass every filter. Equal filters compare equal, so that their viewers share the work.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    wanted: Wanted,
    /// `text`, then `regex`.
    patterns: Vec<Regex>,
}

impl PartialEq for LogFilter {
    fn eq(&self, other: &Self) -> bool {
        self.wanted == other.wanted
    }
}

impl Eq for LogFilter {}

impl Hash for LogFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wanted.hash(state);
    }
}

impl LogFilter {
    /// Reads a filter; `null` and `{}` are those that let everything pass.
    ///
    /// # Errors
    /// Names the first field that is wrong, and what would be right.
    pub fn from_json(value: &Value) -> Result<Self, FilterError> {
        let given = match value {
            Value::Null => return Ok(Self::default()),
            Value::Object(given) => given,
            _ => return Err(wrong("filters", "expected an object such as {\"level\": \"warn\"}")),
        };
        let known = ["level", "text", "regex", "inverse", "stream", "fields"];
        if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            let reason = format!("unknown field {name:?}; use {}", known.join(", "));
            return Err(wrong("filters", reason));
        }
        let mut wanted = Wanted::default();
        if let Some(level) = text(given.get("level"), "level")? {
            wanted.level = Some(level.parse().map_err(|reason: String| wrong("level", reason))?);
        }
        wanted.text = text(given.get("text"), "text")?.map(str::to_lowercase);
        wanted.regex = text(given.get("regex"), "regex")?.map(str::to_owned);
        wanted.stream = match text(given.get("stream"), "stream")? {
            None => None,
            Some("stdout") => Some(LogOutput::Stdout),
            Some("stderr") => Some(LogOutput::Stderr),
            Some(_) => return Err(wrong("stream", "expected \"stdout\" or \"stderr\"")),
        };
        wanted.inverse = match given.get("inverse") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(inverse)) => *inverse,
            Some(_) => return Err(wrong("inverse", "expected true or false")),
        };
        wanted.fields = fields(given.get("fields"))?;
        // Of nothing there is no inverse.
        wanted.inverse &= wanted.text.is_some() || wanted.regex.is_some();

        let text = wanted.text.as_deref().map(regex::escape);
        let text = text.map(|text| compile("text", &text, true));
        let regex = wanted.regex.as_deref().map(|regex| compile("regex", regex, false));
        let patterns = [text, regex].into_iter().flatten().collect::<Result<_, _>>()?;
        Ok(Self { wanted, patterns })
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.wanted == Wanted::default()
    }

    /// Whether the line passes. Takes time in proportion to its length at most.
    pub fn matches(&self, line: &LogLine) -> bool {
        if line.marker.is_some() {
            return true;
        }
        let wanted = &self.wanted;
        if wanted.level.is_some_and(|least| line.level.unwrap_or(Level::Info) < least)
            || wanted.stream.is_some_and(|stream| line.stream != stream)
        {
            return false;
        }
        let is = |value: Option<&FieldValue>, text: &str| value.is_some_and(|v| v.is(text));
        if !wanted.fields.iter().all(|(name, text)| is(line.fields.get(name), text)) {
            return false;
        }
        let found = |pattern: &Regex| {
            pattern.is_match(&line.message)
                || line.raw.as_deref().is_some_and(|raw| pattern.is_match(raw))
        };
        self.patterns.iter().all(found) != wanted.inverse
    }
}

fn wrong(field: &'static str, reason: impl Into<String>) -> FilterError {
    FilterError { field, reason: reason.into() }
}

/// A text that is not empty.
fn text<'a>(value: Option<&'a Value>, field: &'static str) -> Result<Option<&'a str>, FilterError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > LONGEST => {
            Err(wrong(field, format!("longer than {LONGEST} bytes")))
        }
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(_) => Err(wrong(field, "expected a text")),
    }
}

fn fields(value: Option<&Value>) -> Result<BTreeMap<String, String>, FilterError> {
    let given = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(wrong("fields", "expected an object such as {\"user\": \"7\"}")),
    };
    if given.len() > FIELDS {
        return Err(wrong("fields", format!("at most {FIELDS}")));
    }
    let mut fields = BTreeMap::new();
    for (name, value) in given {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return Err(wrong("fields", "expected texts, numbers, true, false or null")),
        };
        if name.len() > LONGEST || text.len() > LONGEST {
            return Err(wrong("fields", format!("a name or value longer than {LONGEST} bytes")));
        }
        fields.insert(name.clone(), text);
    }
    Ok(fields)
}

fn compile(field: &'static str, pattern: &str, any_case: bool) -> Result<Regex, FilterError> {
    RegexBuilder::new(pattern)
        .case_insensitive(any_case)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|error| wrong(field, redact::reason(&error)))
}

#[cfg(test)]
mod tests {
    use kobel_wire::log::LogTime;
    use serde_json::json;

    use super::*;

    type Hashed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
    use crate::logs::{RawLine, line};

    fn entry(text: &str) -> LogLine {
        let (at, stream) = (LogTime::default(), LogOutput::Stderr);
        line::read(RawLine { at, stream, text: text.into(), cut: 0 })
    }

    #[test]
    fn what_passes() {
        let json = r#"{"level":"warn","msg":"Slow query","took":12,"ok":true,"db":"main"}"#;
        let table = [
            (json!({}), json, true),
            (json!(null), json, true),
            (json!({"level": "warn"}), json, true),
            (json!({"level": "error"}), json, false),
            (json!({"level": "info"}), "no level", true),
            (json!({"level": "warn"}), "no level", false),
            (json!({"text": "SLOW"}), json, true),
            (json!({"text": "took"}), json, true),
            (json!({"text": "a.c"}), "abc", false),
            (json!({"text": "grösse"}), "GRÖSSE", true),
            (json!({"text": "red car"}), "\u{1b}[31mred\u{1b}[0m car", true),
            (json!({"regex": "^Slow .*y$"}), json, true),
            (json!({"regex": "^slow"}), json, false),
            (json!({"regex": "(?i)^slow", "inverse": true}), json, false),
            (json!({"text": "slow", "regex": "x", "inverse": true}), json, true),
            (json!({"level": "error", "text": "x", "inverse": true}), json, false),
            (json!({"inverse": true}), json, true),
            (json!({"stream": "stderr"}), json, true),
            (json!({"stream": "stdout"}), json, false),
            (json!({"fields": {"took": 12, "ok": true, "db": "main"}}), json, true),
            (json!({"fields": {"took": "12"}}), json, true),
            (json!({"fields": {"took": 13}}), json, false),
            (json!({"fields": {"user": null}}), json, false),
        ];
        for (filter, text, wanted) in table {
            let read = LogFilter::from_json(&filter).unwrap();
            assert_eq!(read.matches(&entry(text)), wanted, "{filter} {text}");
        }
        let mut marker = entry("x");
        marker.marker = Some(kobel_wire::log::LogMarker::Started);
        let filter = LogFilter::from_json(&json!({"level": "fatal", "text": "y"})).unwrap();
        assert!(filter.matches(&marker));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            (json!([]), "filters: expected an object"),
            (json!({"lvl": 1}), "filters: unknown field \"lvl\"; use level, text"),
            (json!({"level": "loud"}), "level: expected \"trace\""),
            (json!({"level": 3}), "level: expected a text"),
            (json!({"text": "x".repeat(1001)}), "text: longer than 1000 bytes"),
            (json!({"regex": "("}), "regex: unclosed group"),
            (json!({"regex": r"\w{1000}{100}"}), "regex: larger than 1048576 bytes"),
            (json!({"regex": "(a)\\1"}), "regex: backreferences are not supported"),
            (json!({"inverse": "yes"}), "inverse: expected true or false"),
            (json!({"stream": "stdin"}), "stream: expected"),
            (json!({"fields": []}), "fields: expected an object"),
            (json!({"fields": {"a": {}}}), "fields: expected texts"),
        ];
        for (filter, wanted) in table {
            let error = LogFilter::from_json(&filter).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }

    #[test]
    fn equal_filters_are_equal() {
        let read = |filter| LogFilter::from_json(&filter).unwrap();
        let one = read(json!({"text": "Error", "fields": {"a": 1, "b": "x"}, "level": null}));
        let same = read(json!({"fields": {"b": "x", "a": "1"}, "text": "error", "regex": ""}));
        assert_eq!(one, same);
        let hash = |filter| std::hash::BuildHasher::hash_one(&Hashed::default(), filter);
        assert_eq!(hash(&one), hash(&same));
        assert_ne!(read(json!({"text": "a"})), read(json!({"text": "a", "inverse": true})));
        assert_ne!(read(json!({"text": "a"})), read(json!({"regex": "a"})));
        assert!(read(json!({"inverse": true})).is_empty());
    }
}
