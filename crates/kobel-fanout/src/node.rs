//! Which server of several a session is on.

use std::{fmt, str::FromStr, sync::Arc};

/// The most characters of a tag.
const LONGEST: usize = 16;

/// What stands between a tag and the rest of a session id. No tag has it, nor has base64url, and it
/// needs no escape in a query.
const END: char = '.';

/// A short name of a server: 1 to 16 of the characters `A-Z a-z 0-9 - _`. The ids of its sessions
/// are then `<tag>.<random>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeTag(Arc<str>);

/// Why a text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no tag of a server: it has 1 to 16 of the characters A-Z a-z 0-9 - _")]
pub struct NodeTagError(String);

impl NodeTag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag that a session id begins with, whoever's it is.
    pub fn of(sid: &str) -> Option<&str> {
        let (tag, _) = sid.split_once(END)?;
        is_tag(tag).then_some(tag)
    }

    /// A session id of this server.
    pub(crate) fn name(&self, random: &str) -> String {
        format!("{}{END}{random}", self.0)
    }
}

/// The random part of a session id.
pub(crate) fn random_part(sid: &str) -> &str {
    sid.split_once(END).map_or(sid, |(_, random)| random)
}

fn is_tag(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(good)
}

impl FromStr for NodeTag {
    type Err = NodeTagError;

    fn from_str(text: &str) -> Result<Self, NodeTagError> {
        if is_tag(text) {
            Ok(Self(text.into()))
        } else {
            Err(NodeTagError(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_can_stand_in_an_id_and_be_found_there() {
        for good in ["a", "node-1_B", "0123456789abcdef"] {
            let tag: NodeTag = good.parse().unwrap();
            let sid = tag.name("AAAAAAAAAAAAAAAAAAAAAA");
            assert_eq!(NodeTag::of(&sid), Some(good));
            assert_eq!(random_part(&sid), "AAAAAAAAAAAAAAAAAAAAAA");
        }
        for bad in ["", "a.b", "a b", "ä", "a/b", "0123456789abcdefg"] {
            assert!(bad.parse::<NodeTag>().is_err(), "{bad}");
        }
        for none in ["", ".", "AAAAAAAAAAAAAAAAAAAAAA", ".AAAA", "a b.AAAA"] {
            assert_eq!(NodeTag::of(none), None, "{none}");
        }
        assert_eq!(random_part("AAAA"), "AAAA");
    }
}
