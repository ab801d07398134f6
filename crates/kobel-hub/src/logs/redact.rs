//! Secrets in lines, masked before anything else sees them: fan-out, store and search.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// The most rules.
const MOST: usize = 100;

/// The most that one rule may become when compiled, bytes.
const SIZE: usize = 1 << 20;

/// What to look for, and what to put in its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What people call it: errors name the rule so.
    pub name: String,
    /// A regular expression in the syntax of the `regex` crate; it always takes linear time.
    pub pattern: String,
    /// What stands there instead; `${1}` is what the first group matched.
    pub mask: String,
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactionError {
    /// The pattern is none, or too large.
    #[error("redaction rule {name:?}: {reason}")]
    Pattern {
        /// The rule's name.
        name: String,
        /// In the words of the parser.
        reason: String,
    },
    /// Too many.
    #[error("{0} redaction rules: at most 100 can be used, those by default among them")]
    TooMany(usize),
    /// Each is good, but not all of them together.
    #[error("the redaction rules are too large together: {0}; use fewer, or shorter ones")]
    Together(String),
}

/// The names, patterns and masks that are used where nobody says otherwise.
const DEFAULTS: [(&str, &str, &str); 7] = [
    // Authorization: Bearer, RFC 6750, 2.1. Shorter ones are words ("bearer of news").
    ("bearer token", r"(?i)(\bbearer\s+)[a-z0-9._~+/-]{16,}=*", "${1}***"),
    // The password of a URL, RFC 3986, 3.2.1.
    ("password in a URL", r"(://[^\s:/@?#]*:)[^\s/@?#]+(@)", "${1}***${2}"),
    // "password": "…", db_password='…', and in JSON that is quoted itself. The quotes stay, so that
    // JSON stays JSON.
    (
        "quoted password",
        r#"(?i)((?:password|passwd|passphrase)\\?["']?\s*[=:]\s*)(?:(")(?:[^"\\]|\\.)*|(\\")(?:[^"\\]|\\[^"])*|(')[^']*)"#,
        "${1}${2}${3}${4}***",
    ),
    // password=…, password: …
    ("password", r#"(?i)((?:password|passwd|passphrase)\s*[=:]\s*)[^\s"',;&)}\]\\]+"#, "${1}***"),
    // "password": 1234
    (
        "password that is a number",
        r#"(?i)((?:password|passwd|passphrase)"\s*:\s*)-?[0-9][0-9.]*"#,
        "${1}\"***\"",
    ),
    // AWS: the ids of access keys, and the secret beside them.
    ("AWS access key id", r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", "${1}***"),
    (
        "AWS secret access key",
        r#"(?i)(aws_?secret_?access_?key\\?["']?\s*[=:]\s*\\?["']?)[a-z0-9/+=]{20,}"#,
        "${1}***",
    ),
];

/// Rules, ready to use.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// Says in one pass which rules have something to do: mostly none.
    any: RegexSet,
    rules: Vec<(Regex, String)>,
}

impl Redaction {
    /// No rules.
    pub fn none() -> Self {
        Self { any: RegexSet::empty(), rules: Vec::new() }
    }

    /// The rules for bearer tokens, passwords in URLs and in `password=`, and AWS keys.
    pub fn default_rules() -> Vec<Rule> {
        let rule = |(name, pattern, mask): (&str, &str, &str)| Rule {
            name: name.into(),
            pattern: pattern.into(),
            mask: mask.into(),
        };
        DEFAULTS.map(rule).into()
    }

    /// These rules, in their order.
    ///
    /// # Errors
    /// Names the first rule that cannot be used, and why.
    pub fn new(rules: &[Rule]) -> Result<Self, RedactionError> {
        if rules.len() > MOST {
            return Err(RedactionError::TooMany(rules.len()));
        }
        let mut compiled = Vec::with_capacity(rules.len());
        for rule in rules {
            let wrong =
                |reason: String| RedactionError::Pattern { name: rule.name.clone(), reason };
            let regex = RegexBuilder::new(&rule.pattern).size_limit(SIZE).build();
            let regex = regex.map_err(|error| wrong(reason(&error)))?;
            if regex.is_match("") {
                return Err(wrong(
                    "matches where nothing is, so the mask would be all over".into(),
                ));
            }
            compiled.push((regex, rule.mask.clone()));
        }
        let patterns = rules.iter().map(|rule| &rule.pattern);
        let any = RegexSetBuilder::new(patterns)
            .size_limit(SIZE * MOST)
            .build()
            .map_err(|error| RedactionError::Together(reason(&error)))?;
        Ok(Self { any, rules: compiled })
    }

    /// The text with every secret masked.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.any.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut masked = Cow::Borrowed(text);
        // All of them: a mask may bring out what another rule looks for.
        for (regex, mask) in &self.rules {
            if let Cow::Owned(new) = regex.replace_all(&masked, mask.as_str()) {
                masked = Cow::Owned(new);
            }
        }
        masked
    }
}

impl Default for Redaction {
    /// With [`Redaction::default_rules`].
    fn default() -> Self {
        // A test holds the default rules to be good.
        Self::new(&Self::default_rules()).unwrap_or_else(|_| Self::none())
    }
}

/// The last line of a parser's many is what is wrong.
pub(super) fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("larger than {limit} bytes when compiled"),
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_rules() {
        let redaction = Redaction::new(&Redaction::default_rules()).unwrap();
        let table = [
            ("Authorization: Bearer eyJhbGciOi.J9-_abc=", "Authorization: Bearer ***"),
            ("the bearer of bad news", "the bearer of bad news"),
            ("postgres://app:hunter2@db:5432/x", "postgres://app:***@db:5432/x"),
            ("redis://:hunter2@db", "redis://:***@db"),
            ("http://host:8080/a@b", "http://host:8080/a@b"),
            ("password=hunter2 user=x", "password=*** user=x"),
            ("DB_PASSWORD: 'two words' x", "DB_PASSWORD: '***' x"),
            (r#"{"password": "hun\"ter2", "a": 1}"#, r#"{"password": "***", "a": 1}"#),
            (r#"{"passwd":"hunter2","a":1}"#, r#"{"passwd":"***","a":1}"#),
            (r#"{"password":7654,"a":1}"#, r#"{"password":"***","a":1}"#),
            (r#"{"password":null,"a":1}"#, r#"{"password":null,"a":1}"#),
            (
                r#"{"m":"{\"password\":\"hun\",\"a\":1}"}"#,
                r#"{"m":"{\"password\":\"***\",\"a\":1}"}"#,
            ),
            (r#"password="no end"#, r#"password="***"#),
            ("https://x/?a=1&password=hunter2&b=2", "https://x/?a=1&password=***&b=2"),
            ("forgot the password?", "forgot the password?"),
            ("id AKIAIOSFODNN7EXAMPLE", "id AKIA***"),
            (
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "aws_secret_access_key = ***",
            ),
            ("nothing to hide", "nothing to hide"),
        ];
        for (text, wanted) in table {
            assert_eq!(redaction.mask(text), wanted);
        }
    }

    #[test]
    fn a_bad_rule_is_named() {
        let rule = |pattern: &str| Rule {
            name: format!("<{pattern}>"),
            pattern: pattern.into(),
            mask: "*".into(),
        };
        let error = Redaction::new(&[rule("a"), rule("(")]).unwrap_err();
        assert_eq!(error.to_string(), "redaction rule \"<(>\": unclosed group");
        for everywhere in ["", "x*", "(a|)"] {
            let error = Redaction::new(&[rule(everywhere)]).unwrap_err().to_string();
            assert!(error.contains("where nothing is"), "{everywhere}: {error}");
        }
        let error = Redaction::new(&[rule("\\w{2000}{50}")]).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
        assert!(Redaction::new(&vec![rule("a"); 101]).is_err());
    }
}
