//! Lines of `key=value` pairs and nothing else, as logrus, slog, traefik and Docker write them.

use std::borrow::Cow;

use kobel_wire::log::{FieldValue, Level};

use super::{Room, Said};
use crate::logs::stamp;

/// Reads a line of at least two pairs.
pub(super) fn read(line: &str) -> Option<Said> {
    // Most lines are none: their first word says so.
    let name = line.bytes().position(|b| !is_of_name(b))?;
    if name == 0 || line.as_bytes()[name] != b'=' {
        return None;
    }
    let (mut said, mut room, mut pairs) = (Said::default(), Room::new(), 0);
    let mut rest = line.trim_end();
    while !rest.is_empty() {
        let end = rest.bytes().position(|b| !is_of_name(b))?;
        if end == 0 || rest.as_bytes()[end] != b'=' {
            return None;
        }
        let name = &rest[..end];
        let (value, after) = value(&rest[end + 1..])?;
        pairs += 1;
        if !take(&mut said, name, &value) {
            room.add(&mut said.fields, name.into(), FieldValue::Text(value.into_owned()));
        }
        rest = after.trim_start();
    }
    (pairs >= 2).then_some(said)
}

fn is_of_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@' | b'/' | b':')
}

/// The value at the start, and what follows it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([' ', '\t']).unwrap_or(text.len()));
        return (!value.contains('"')).then_some((value.into(), rest));
    };
    let mut end = 0;
    loop {
        end += memchr::memchr2(b'"', b'\\', &quoted.as_bytes()[end..])?;
        if quoted.as_bytes()[end] == b'"' {
            break;
        }
        // The escaped character, of one byte or more.
        end += 1 + quoted[end + 1..].chars().next()?.len_utf8();
    }
    let (inner, rest) = (&quoted[..end], &quoted[end + 1..]);
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    if !inner.contains('\\') {
        return Some((inner.into(), rest));
    }
    // Go quotes as JSON does, but for \x and \a, which stay as they are.
    let read = serde_json::from_str::<String>(&text[..end + 2]);
    Some((read.map_or(inner.into(), Cow::Owned), rest))
}

fn take(said: &mut Said, name: &str, value: &str) -> bool {
    match name {
        "timestamp" | "time" | "ts" | "@timestamp" | "t" if said.at.is_none() => {
            let stamp = stamp::leading(value.as_bytes()).filter(|stamp| stamp.len == value.len());
            said.at = stamp.and_then(|stamp| Some((stamp.at?, stamp.zoned)));
            said.at.is_some()
        }
        "level" | "severity" | "lvl" if said.level.is_none() => {
            said.level = match value.as_bytes() {
                [letter] => Level::from_letter(*letter),
                _ => Level::from_word(value.split(['+', '-']).next().unwrap_or(value).as_bytes()),
            };
            said.level.is_some()
        }
        "message" | "msg" if said.message.is_none() => {
            said.message = Some(value.to_owned());
            true
        }
        _ => false,
    }
}
