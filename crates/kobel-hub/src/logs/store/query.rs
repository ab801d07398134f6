//! What is looked for.

use std::{cell::OnceCell, collections::BTreeMap};

use kobel_wire::log::{FieldValue, Level, LogLine, LogOutput};
use regex::{Regex, RegexBuilder};

use super::{
    LogIdentity,
    lines::Kept,
    words::{self, WordHash},
};

/// The longest query, in bytes.
const LONGEST: usize = 4_000;

/// The most terms of one.
const TERMS: usize = 50;

/// The most that a regular expression may become when compiled, and its cache, bytes.
const SIZE: usize = 1 << 20;

/// Why a query is refused: what is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub String);

/// What is looked for in lines, and in whose:
///
/// - `word`: the line has this word, in any case; `wor*`: one that begins so;
/// - `"some words"`: these, one after the other, in any case;
/// - `/regex/`: in the syntax of the `regex` crate; `/regex/i` in any case;
/// - `level>=warn`, `level=error`: a line without a level counts as `info`;
/// - `name=value`, `name="a value"`: a field, written so; `field.level=x` where the name has another
///   meaning;
/// - `stream=stderr`;
/// - `container=web`, by name, the begin of its id, or `web-*`; `device=`, by name or UUID;
///   `project=`; `service=`. The same twice means either;
/// - `-` before any of them: the others.
///
/// All must hold. `:` may stand for `=`.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    terms: Vec<(bool, Term)>,
    levels: Option<u8>,
    whose: BTreeMap<Whose, Vec<(bool, String)>>,
}

/// What of a container is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Name or id.
    Container,
    /// Name or UUID of its device.
    Device,
    /// Compose project.
    Project,
    /// Compose service.
    Service,
}

#[derive(Debug, Clone)]
enum Term {
    Word(WordHash),
    /// Words in a row, and those of them that a block must hold.
    Phrase(Regex, Vec<WordHash>),
    /// Whether it looks for the line's begin or end.
    Regex(Regex, bool),
    Field(String, String, Vec<WordHash>),
    Stream(LogOutput),
}

impl LogQuery {
    /// Reads a query; an empty one finds every line.
    ///
    /// # Errors
    /// Says what is wrong with the first term that is.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > LONGEST {
            return Err(wrong(format!("longer than {LONGEST} bytes")));
        }
        let mut query = Self::default();
        let mut rest = text.trim_start();
        let mut count = 0;
        while !rest.is_empty() {
            count += 1;
            if count > TERMS {
                return Err(wrong(format!("more than {TERMS} terms")));
            }
            let (not, term) = match rest.strip_prefix('-') {
                Some(term) if !term.starts_with(char::is_whitespace) && !term.is_empty() => {
                    (true, term)
                }
                _ => (false, rest),
            };
            rest = query.term(not, term)?.trim_start();
        }
        Ok(query)
    }

    /// Only lines that a container of this kind wrote. The same kind twice means either.
    pub fn of(&mut self, whose: Whose, name: &str) {
        self.whose.entry(whose).or_default().push((false, name.to_owned()));
    }

    /// Reads one term; gives what follows it.
    fn term<'a>(&mut self, not: bool, text: &'a str) -> Result<&'a str, QueryError> {
        if let Some(quoted) = text.strip_prefix('"') {
            let (phrase, rest) = quote(quoted)?;
            self.phrase(not, &phrase)?;
            return Ok(rest);
        }
        if let Some(pattern) = text.strip_prefix('/') {
            let (pattern, rest) = until_slash(pattern)?;
            let (any_case, rest) = match rest.strip_prefix('i') {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            if !(rest.is_empty() || rest.starts_with(char::is_whitespace)) {
                return Err(wrong("after /regex/ only i may follow, then a space".into()));
            }
            let anchored = pattern.contains(['^', '$'])
                || ["\\A", "\\z", "\\b{"].iter().any(|look| pattern.contains(look));
            let regex = compile(&pattern, any_case)?;
            self.terms.push((not, Term::Regex(regex, anchored)));
            return Ok(rest);
        }
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let word = &text[..end];
        let operator =
            word.find(['=', ':', '<', '>']).filter(|at| *at > 0 && is_name(&word[..*at]));
        let Some(at) = operator else {
            self.words(not, word)?;
            return Ok(&text[end..]);
        };
        let name = &word[..at];
        let operator = [">=", "<=", "=", ":", ">", "<"]
            .into_iter()
            .find(|operator| word[at..].starts_with(operator))
            .unwrap_or("=");
        let value = &text[at + operator.len()..];
        let (value, rest) = match value.strip_prefix('"') {
            Some(quoted) => quote(quoted)?,
            None => {
                let end = value.find(char::is_whitespace).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        if value.is_empty() {
            // A word that ends so: "error:".
            self.words(not, word)?;
            return Ok(&text[end..]);
        }
        self.named(not, name, operator, value)?;
        Ok(rest)
    }

    fn named(
        &mut self,
        not: bool,
        name: &str,
        operator: &str,
        value: String,
    ) -> Result<(), QueryError> {
        let equal = matches!(operator, "=" | ":");
        let whose = match name {
            "level" => return self.level(not, operator, &value),
            "container" => Some(Whose::Container),
            "device" => Some(Whose::Device),
            "project" => Some(Whose::Project),
            "service" => Some(Whose::Service),
            _ => None,
        };
        if !equal {
            let text = format!(
                "{name}{operator}{value}: only level can be compared so; use {name}={value}"
            );
            return Err(wrong(text));
        }
        if let Some(whose) = whose {
            self.whose.entry(whose).or_default().push((not, value));
            return Ok(());
        }
        if name == "stream" {
            let stream = match value.as_str() {
                "stdout" => LogOutput::Stdout,
                "stderr" => LogOutput::Stderr,
                _ => return Err(wrong(format!("stream={value}: use stdout or stderr"))),
            };
            self.terms.push((not, Term::Stream(stream)));
            return Ok(());
        }
        let name = name.strip_prefix("field.").unwrap_or(name).to_owned();
        // 12.50 is the number 12.5; and what JSON may write as an escape is not in the text.
        let certain = value.parse::<f64>().is_err();
        let mut words = Vec::new();
        if certain {
            words::words(&value, |word| words.push(word));
        }
        self.terms.push((not, Term::Field(name, value, words)));
        Ok(())
    }

    fn level(&mut self, not: bool, operator: &str, value: &str) -> Result<(), QueryError> {
        let level = Level::from_word(value.as_bytes()).ok_or_else(|| {
            wrong(format!("level{operator}{value}: use trace, debug, info, warn, error or fatal"))
        })?;
        let own = 1 << (level as u8 + 1);
        let above =
            Level::ALL.iter().filter(|l| **l > level).map(|l| 1_u8 << (*l as u8 + 1)).sum::<u8>();
        let below =
            Level::ALL.iter().filter(|l| **l < level).map(|l| 1_u8 << (*l as u8 + 1)).sum::<u8>();
        let mut wanted: u8 = match operator {
            ">=" => own | above,
            ">" => above,
            "<=" => own | below,
            "<" => below,
            _ => own,
        };
        // Without one it counts as information, the lowest bit.
        wanted |= u8::from(wanted & (1 << (Level::Info as u8 + 1)) != 0);
        let wanted = if not { !wanted } else { wanted };
        self.levels = Some(self.levels.unwrap_or(u8::MAX) & wanted);
        Ok(())
    }

    fn words(&mut self, not: bool, text: &str) -> Result<(), QueryError> {
        if let Some(begin) = text.strip_suffix('*')
            && !begin.is_empty()
            && begin.chars().all(words::is_word)
        {
            let regex = compile(&format!(r"\b{}", regex::escape(begin)), true)?;
            self.terms.push((not, Term::Regex(regex, false)));
            return Ok(());
        }
        if text.chars().all(words::is_word) {
            words::words(text, |word| self.terms.push((not, Term::Word(word))));
            return Ok(());
        }
        self.phrase(not, text)
    }

    fn phrase(&mut self, not: bool, text: &str) -> Result<(), QueryError> {
        if text.is_empty() {
            return Ok(());
        }
        let border =
            |letter: Option<char>| if letter.is_some_and(words::is_word) { r"\b" } else { "" };
        let (first, last) = (border(text.chars().next()), border(text.chars().next_back()));
        let regex = compile(&format!("{first}{}{last}", regex::escape(text)), true)?;
        let mut wanted = Vec::new();
        for word in text.split(|letter| !words::is_word(letter)).filter(|word| word.is_ascii()) {
            words::words(word, |word| wanted.push(word));
        }
        self.terms.push((not, Term::Phrase(regex, wanted)));
        Ok(())
    }

    /// Whether a container's lines may be among what is found.
    pub fn wants(&self, identity: &LogIdentity) -> bool {
        self.whose.iter().all(|(whose, names)| {
            let is = |name: &str| match whose {
                Whose::Container => {
                    let id = identity.container_id.to_string();
                    like(name, &identity.name) || (name.len() >= 6 && id.starts_with(name))
                }
                Whose::Device => {
                    like(name, &identity.device_name) || identity.device_uuid.to_string() == name
                }
                Whose::Project => {
                    identity.project.as_deref().is_some_and(|known| like(name, known))
                }
                Whose::Service => {
                    identity.service.as_deref().is_some_and(|known| like(name, known))
                }
            };
            let (mut asked, mut found) = (false, false);
            for (not, name) in names {
                if *not && is(name) {
                    return false;
                }
                asked |= !not;
                found |= !not && is(name);
            }
            found || !asked
        })
    }

    /// Words that a block must hold.
    pub(super) fn must_hold(&self) -> Vec<WordHash> {
        let mut all = Vec::new();
        for (_, term) in self.terms.iter().filter(|(not, _)| !not) {
            match term {
                Term::Word(word) => all.push(*word),
                Term::Phrase(_, words) | Term::Field(_, _, words) => all.extend(words),
                Term::Regex(..) | Term::Stream(_) => {}
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Levels that are wanted, a bit for each; the lowest for lines without.
    pub(super) fn levels(&self) -> u8 {
        self.levels.unwrap_or(u8::MAX)
    }

    /// Whether a stored line is wanted. What cannot be read is not.
    pub(super) fn matches(&self, kept: Kept<'_>) -> bool {
        let level = kept.level().map_or(0, |level| level as u8 + 1);
        if self.levels() & 1 << level == 0 {
            return false;
        }
        let line: OnceCell<Option<LogLine>> = OnceCell::new();
        self.terms.iter().all(|(not, term)| {
            let plain = kept.plain();
            let read = || line.get_or_init(|| kept.line(0).ok()).as_ref();
            let in_texts = |read: Option<&LogLine>, test: &dyn Fn(&str) -> bool| {
                read.is_some_and(|line| test(line.raw()) || test(&line.message))
            };
            let holds = match (term, plain) {
                (Term::Stream(stream), _) => kept.stream() == *stream,
                (Term::Field(name, value, _), _) => {
                    !kept.is_message()
                        && read().is_some_and(|line| is(line.fields.get(name), value))
                }
                (Term::Word(word), Some(text)) => has_word(text, *word),
                (Term::Word(word), None) => in_texts(read(), &|text| has_word(text, *word)),
                (Term::Phrase(regex, _) | Term::Regex(regex, false), Some(text)) => {
                    regex.is_match(text)
                }
                (Term::Regex(regex, true), Some(text)) if kept.is_message() => regex.is_match(text),
                (Term::Phrase(regex, _) | Term::Regex(regex, _), _) => {
                    in_texts(read(), &|text| regex.is_match(text))
                }
            };
            holds != *not
        })
    }
}

fn is(value: Option<&FieldValue>, text: &str) -> bool {
    value.is_some_and(|value| value.is(text))
}

fn has_word(text: &str, word: WordHash) -> bool {
    let mut found = false;
    words::words(text, |other| found |= other == word);
    found
}

/// Whether `name` is `pattern`, in which `*` stands for anything.
fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| words::is_word(c) || matches!(c, '.' | '-' | '@' | '/'))
}

fn wrong(reason: String) -> QueryError {
    QueryError(reason)
}

/// Up to the closing quote; `\"` and `\\` stand for themselves.
fn quote(text: &str) -> Result<(String, &str), QueryError> {
    let (mut out, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, letter @ ('"' | '\\'))) => out.push(letter),
                Some((_, letter)) => out.extend(['\\', letter]),
                None => break,
            },
            letter => out.push(letter),
        }
    }
    Err(wrong(format!("\"{text}: a closing \" is missing")))
}

/// Up to the closing slash; `\/` stands for a slash.
fn until_slash(text: &str) -> Result<(String, &str), QueryError> {
    let (mut out, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '/' => return Ok((out, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, '/')) => out.push('/'),
                Some((_, letter)) => out.extend(['\\', letter]),
                None => break,
            },
            letter => out.push(letter),
        }
    }
    Err(wrong(format!("/{text}: a closing / is missing; a word with a slash goes in quotes")))
}

fn compile(pattern: &str, any_case: bool) -> Result<Regex, QueryError> {
    RegexBuilder::new(pattern)
        .case_insensitive(any_case)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|error| wrong(format!("/{pattern}/: {}", crate::logs::redact::reason(&error))))
}
