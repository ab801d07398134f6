//! Engine.IO v4 and Socket.IO v5 packets as a client reads them: told apart by their first bytes,
//! never parsed as JSON where it is not needed.

use super::ProtocolError;

/// What separates the packets of a polling payload (Engine.IO v4, "HTTP long-polling").
pub(crate) const SEPARATOR: u8 = 0x1e;

/// A packet from the server, of the main namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// The session is open; the JSON has its id.
    Open(&'a [u8]),
    /// To be answered by a pong.
    Ping,
    /// The session ends.
    Close,
    /// Nothing.
    Noop,
    /// The namespace is joined.
    Connected,
    /// The namespace was refused; the JSON says why.
    ConnectError(&'a [u8]),
    /// The server ended the socket.
    Disconnected,
    /// An event: the JSON array of its name and arguments. Attachments may follow.
    Event(&'a [u8]),
    /// The answer to an event of the client.
    Ack(u64, &'a [u8]),
}

impl<'a> Packet<'a> {
    /// Reads an Engine.IO packet that came as text.
    #[inline]
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, ProtocolError> {
        let (kind, rest) = text.split_first().ok_or(ProtocolError::Packet)?;
        match kind {
            b'4' => Self::message(rest),
            b'0' => Ok(Self::Open(rest)),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping),
            b'6' => Ok(Self::Noop),
            _ => Err(ProtocolError::Packet),
        }
    }

    fn message(text: &'a [u8]) -> Result<Self, ProtocolError> {
        let (kind, rest) = text.split_first().ok_or(ProtocolError::Packet)?;
        match kind {
            b'2' => Ok(Self::Event(json(rest)?)),
            b'5' => {
                // The number of attachments, a dash.
                let (_, rest) = number(rest).ok_or(ProtocolError::Packet)?;
                let rest = rest.strip_prefix(b"-").ok_or(ProtocolError::Packet)?;
                Ok(Self::Event(json(rest)?))
            }
            b'0' => Ok(Self::Connected),
            b'1' => Ok(Self::Disconnected),
            b'4' => Ok(Self::ConnectError(rest)),
            b'3' => {
                let (id, rest) = number(rest).ok_or(ProtocolError::Packet)?;
                Ok(Self::Ack(id, json(rest)?))
            }
            b'6' => {
                let (_, rest) = number(rest).ok_or(ProtocolError::Packet)?;
                let rest = rest.strip_prefix(b"-").ok_or(ProtocolError::Packet)?;
                let (id, rest) = number(rest).ok_or(ProtocolError::Packet)?;
                Ok(Self::Ack(id, json(rest)?))
            }
            _ => Err(ProtocolError::Packet),
        }
    }
}

/// What begins as an array. Events that ask for an answer have a number before it.
fn json(bytes: &[u8]) -> Result<&[u8], ProtocolError> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(digits) {
        Some(b'[') => Ok(&bytes[digits..]),
        _ => Err(ProtocolError::Packet),
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&bytes[..digits]).ok()?;
    Some((text.parse().ok()?, &bytes[digits..]))
}

/// The id of the session, out of the JSON of an open packet.
pub(crate) fn session_id(open: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Open {
        sid: String,
    }
    let open: Open = serde_json::from_slice(open).ok()?;
    // It goes into a request's path.
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'&' && byte != b'#';
    (!open.sid.is_empty() && open.sid.bytes().all(plain)).then_some(open.sid)
}

/// Why a connect or an event was refused, for people and as a kind of error: the code where there
/// is one, or the message, at most 80 characters.
pub(crate) fn refusal(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let said = |value: &serde_json::Value| {
        let texts = [&value["data"]["code"], &value["code"], &value["message"]];
        texts.iter().find_map(|text| text.as_str()).map(|text| text.chars().take(80).collect())
    };
    said(&value).unwrap_or_else(|| "no reason given".to_owned())
}

/// The error in an answer such as Kobel's `[{"ok":false,"error":{"code",…}}]`; `None` when it says
/// nothing of the kind.
pub(crate) fn refused_answer(ack: &[u8]) -> Option<String> {
    memchr::memmem::find(ack, b"\"ok\":false")?;
    let value: serde_json::Value = serde_json::from_slice(ack).ok()?;
    let answer = value.get(0)?;
    (answer["ok"] == false).then(|| refusal(answer["error"].to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets() {
        for (text, expected) in [
            ("0{\"sid\":\"a\"}", Ok(Packet::Open(b"{\"sid\":\"a\"}"))),
            ("2", Ok(Packet::Ping)),
            ("1", Ok(Packet::Close)),
            ("6", Ok(Packet::Noop)),
            ("40{\"sid\":\"b\"}", Ok(Packet::Connected)),
            ("44{\"message\":\"no\"}", Ok(Packet::ConnectError(b"{\"message\":\"no\"}"))),
            ("41", Ok(Packet::Disconnected)),
            ("42[\"a\",1]", Ok(Packet::Event(b"[\"a\",1]"))),
            ("4217[\"a\"]", Ok(Packet::Event(b"[\"a\"]"))),
            ("451-[\"m\",{}]", Ok(Packet::Event(b"[\"m\",{}]"))),
            ("4312[1]", Ok(Packet::Ack(12, b"[1]"))),
            ("461-3[1]", Ok(Packet::Ack(3, b"[1]"))),
            ("", Err(ProtocolError::Packet)),
            ("4", Err(ProtocolError::Packet)),
            ("7", Err(ProtocolError::Packet)),
            ("47", Err(ProtocolError::Packet)),
            ("42", Err(ProtocolError::Packet)),
            ("42{}", Err(ProtocolError::Packet)),
            ("43[1]", Err(ProtocolError::Packet)),
            ("4399999999999999999999[1]", Err(ProtocolError::Packet)),
            ("45[\"m\"]", Err(ProtocolError::Packet)),
            ("451[\"m\"]", Err(ProtocolError::Packet)),
        ] {
            assert_eq!(Packet::read(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn refusals_are_named_by_their_code() {
        for (json, expected) in [
            (r#"{"message":"m","data":{"code":"UNAUTHORIZED"}}"#, "UNAUTHORIZED"),
            (r#"{"code":"NOT_FOUND","message":"m"}"#, "NOT_FOUND"),
            (r#"{"message":"Invalid namespace"}"#, "Invalid namespace"),
            ("{}", "no reason given"),
            ("<html>", "no reason given"),
        ] {
            assert_eq!(refusal(json.as_bytes()), expected);
        }
        let no = br#"[{"ok":false,"error":{"code":"NOT_FOUND","message":"m"}}]"#;
        assert_eq!(refused_answer(no).as_deref(), Some("NOT_FOUND"));
        for yes in
            ["[{\"ok\":true,\"room\":\"device:1\"}]", "[]", "[{\"note\":\"\\\"ok\\\":false\"}]"]
        {
            assert_eq!(refused_answer(yes.as_bytes()), None, "{yes}");
        }
    }

    #[test]
    fn session_ids_cannot_change_a_request() {
        assert_eq!(session_id(br#"{"sid":"aZ-_9","x":1}"#).as_deref(), Some("aZ-_9"));
        for bad in
            [r#"{"sid":"a b"}"#, r#"{"sid":"a\r\nX: y"}"#, r#"{"sid":""}"#, r#"{"sid":1}"#, ""]
        {
            assert_eq!(session_id(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in "[0-6]{0,3}") {
            let text = [kind.as_bytes(), &bytes].concat();
            let _ = Packet::read(&text);
            let _ = refusal(&bytes);
            let _ = refused_answer(&text);
            let _ = session_id(&bytes);
        }
    }
}
