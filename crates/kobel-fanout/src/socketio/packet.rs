//! One packet: `<type>[<attachments>-][<namespace>,][<ack id>][JSON]`.

use std::fmt::Write;

/// The most attachments that one packet may announce.
pub const MAX_ATTACHMENTS: usize = 16;

/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE: usize = 255;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `0`: join a namespace; from the server: joined.
    Connect,
    /// `1`: leave a namespace.
    Disconnect,
    /// `2`: an event.
    Event,
    /// `3`: the answer to an event.
    Ack,
    /// `4`: the namespace may not be joined. Only servers send it.
    ConnectError,
    /// `5`: an event with attachments.
    BinaryEvent,
    /// `6`: an answer with attachments.
    BinaryAck,
}

impl Kind {
    fn digit(self) -> char {
        match self {
            Self::Connect => '0',
            Self::Disconnect => '1',
            Self::Event => '2',
            Self::Ack => '3',
            Self::ConnectError => '4',
            Self::BinaryEvent => '5',
            Self::BinaryAck => '6',
        }
    }

    fn of(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }
}

/// A packet, borrowed from the text it came in. The JSON is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// How many binary attachments follow it.
    pub attachments: usize,
    /// The namespace; `/` is the main one.
    pub namespace: &'a str,
    /// The number by which the other side knows the answer.
    pub ack: Option<u64>,
    /// The JSON text; empty where there is none.
    pub data: &'a str,
}

/// Why a text is no packet. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The type is missing or unknown.
    #[error("unknown packet type")]
    Type,
    /// The number of attachments is missing, malformed or too large.
    #[error("malformed number of attachments, or more than {MAX_ATTACHMENTS}")]
    Attachments,
    /// The namespace's name is too long.
    #[error("a namespace's name longer than {MAX_NAMESPACE} bytes")]
    Namespace,
    /// The acknowledgement id is too large.
    #[error("malformed acknowledgement id")]
    Ack,
    /// The payload is not what the type asks for.
    #[error("malformed payload")]
    Payload,
    /// A text came where attachments were due, or an attachment where none was.
    #[error("attachments do not fit the packet")]
    Order,
    /// The attachments of one packet are larger than a message may be.
    #[error("attachments too large")]
    TooLarge,
}

impl<'a> Packet<'a> {
    /// Reads a packet from text, up to its JSON.
    pub fn parse(text: &'a str) -> Result<Self, PacketError> {
        let kind = text.bytes().next().and_then(Kind::of).ok_or(PacketError::Type)?;
        let mut rest = &text[1..];
        let mut attachments = 0;
        if matches!(kind, Kind::BinaryEvent | Kind::BinaryAck) {
            let (count, after) = rest.split_once('-').ok_or(PacketError::Attachments)?;
            attachments = number(count)
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n <= MAX_ATTACHMENTS)
                .ok_or(PacketError::Attachments)?;
            rest = after;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            // The comma may be missing where nothing follows.
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
            // A namespace's query string, of older revisions, is no part of its name.
            namespace = namespace.split_once('?').map_or(namespace, |(name, _)| name);
            if namespace.len() > MAX_NAMESPACE {
                return Err(PacketError::Namespace);
            }
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (ack, data) = rest.split_at(digits);
        let ack = match ack {
            "" => None,
            digits => Some(number(digits).ok_or(PacketError::Ack)?),
        };
        Ok(Self { kind, attachments, namespace, ack, data })
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Writes a packet up to its JSON into `out`.
pub fn head(out: &mut String, kind: Kind, attachments: usize, namespace: &str, ack: Option<u64>) {
    out.push(kind.digit());
    // Writing to a String cannot fail.
    if matches!(kind, Kind::BinaryEvent | Kind::BinaryAck) {
        let _ = write!(out, "{attachments}-");
    }
    if namespace != "/" {
        out.push_str(namespace);
        out.push(',');
    }
    if let Some(ack) = ack {
        let _ = write!(out, "{ack}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(
        kind: Kind,
        attachments: usize,
        namespace: &'static str,
        ack: Option<u64>,
        data: &'static str,
    ) -> Packet<'static> {
        Packet { kind, attachments, namespace, ack, data }
    }

    #[test]
    fn reads_the_examples_of_the_document() {
        for (text, expected) in [
            ("0", packet(Kind::Connect, 0, "/", None, "")),
            (r#"0{"token":"1"}"#, packet(Kind::Connect, 0, "/", None, r#"{"token":"1"}"#)),
            ("0/admin", packet(Kind::Connect, 0, "/admin", None, "")),
            ("0/admin,", packet(Kind::Connect, 0, "/admin", None, "")),
            ("0/admin?a=b,{}", packet(Kind::Connect, 0, "/admin", None, "{}")),
            ("1/admin,", packet(Kind::Disconnect, 0, "/admin", None, "")),
            (r#"2["foo"]"#, packet(Kind::Event, 0, "/", None, r#"["foo"]"#)),
            (r#"2/admin,["bar"]"#, packet(Kind::Event, 0, "/admin", None, r#"["bar"]"#)),
            (r#"212["foo"]"#, packet(Kind::Event, 0, "/", Some(12), r#"["foo"]"#)),
            ("3/admin,13[]", packet(Kind::Ack, 0, "/admin", Some(13), "[]")),
            (
                r#"51-/admin,["baz",{"_placeholder":true,"num":0}]"#,
                packet(
                    Kind::BinaryEvent,
                    1,
                    "/admin",
                    None,
                    r#"["baz",{"_placeholder":true,"num":0}]"#,
                ),
            ),
            ("61-15[]", packet(Kind::BinaryAck, 1, "/", Some(15), "[]")),
        ] {
            assert_eq!(Packet::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_malformed() {
        for (text, error) in [
            ("", PacketError::Type),
            ("7", PacketError::Type),
            ("abc", PacketError::Type),
            ("5", PacketError::Attachments),
            ("5[]", PacketError::Attachments),
            ("5-[]", PacketError::Attachments),
            ("5+1-[]", PacketError::Attachments),
            ("517-[]", PacketError::Attachments),
            ("599999999999999999999-[]", PacketError::Attachments),
            ("299999999999999999999[]", PacketError::Ack),
        ] {
            assert_eq!(Packet::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_namespace_has_a_name_and_not_a_novel() {
        let named = |len: usize| format!("0/{},", "n".repeat(len - 1));
        assert!(Packet::parse(&named(MAX_NAMESPACE)).is_ok());
        let long = named(MAX_NAMESPACE + 1);
        assert_eq!(Packet::parse(&long), Err(PacketError::Namespace));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Packet::parse(&text);
        }

        #[test]
        fn reads_what_it_writes(
            kind in 0u8..7,
            attachments in 0usize..=MAX_ATTACHMENTS,
            namespace in prop::sample::select(vec!["/", "/a", "/a/b-c"]),
            ack in prop::option::of(any::<u64>()),
            data in r#"(\[.*\])?"#,
        ) {
            let kind = Kind::of(b'0' + kind).unwrap();
            let binary = matches!(kind, Kind::BinaryEvent | Kind::BinaryAck);
            let mut text = String::new();
            head(&mut text, kind, attachments, namespace, ack);
            text.push_str(&data);
            let read = Packet::parse(&text).unwrap();
            let attachments = if binary { attachments } else { 0 };
            prop_assert_eq!(read, Packet { kind, attachments, namespace, ack, data: &data });
        }
    }
}
