//! A session on a WebSocket from the first byte on.

use super::{Core, Failure, Outgoing, Setup, Sink, State};
use crate::protocol::{
    LARGEST, ProtocolError, http,
    websocket::{Opcode, parse},
};

/// A session on a WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    core: Core,
    upgraded: bool,
    /// The message of which the first fragments have come. Boxed: hardly any server fragments.
    #[expect(clippy::box_collection, reason = "a third of the size in each idle connection")]
    fragments: Option<Box<Vec<u8>>>,
    /// Whether that message is text.
    text: bool,
}

impl WebSocket {
    /// A session, and its request.
    pub(crate) fn start(number: u32, setup: &Setup, out: &mut Outgoing) -> Self {
        let Setup { resource, headers, .. } = setup;
        let request = format!(
            "GET {resource}&transport=websocket HTTP/1.1\r\n{headers}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        out.bytes.extend_from_slice(request.as_bytes());
        Self { core: Core::new(number), upgraded: false, fragments: None, text: false }
    }

    /// Whether it is connected and subscribed.
    pub(crate) fn is_live(&self) -> bool {
        self.core.state == State::Live
    }

    /// How the session is left in good order.
    pub(crate) fn leave(out: &mut Outgoing) {
        out.frame(Opcode::Text, b"41");
        out.frame(Opcode::Close, &1000u16.to_be_bytes());
    }

    /// Takes what has come and was not taken before, and says how many bytes it used.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        setup: &Setup,
        out: &mut Outgoing,
        sink: &mut impl Sink,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        if !self.upgraded {
            match http::status(bytes)? {
                None => return Ok(0),
                Some((101, len)) => used = len,
                Some((status, _)) => return Err(Failure::Http(status)),
            }
            self.upgraded = true;
        }
        while let Some((frame, len)) = parse(&bytes[used..])? {
            used += len;
            match (frame.opcode, frame.fin, self.fragments.is_some()) {
                (Opcode::Text, true, false) => {
                    let mut reply = |packet: &[u8]| out.frame(Opcode::Text, packet);
                    self.core.packet(frame.payload, setup, &mut reply, sink)?;
                }
                (Opcode::Binary, true, false) => sink.attachment(frame.payload.len()),
                (Opcode::Pong, ..) => {}
                (Opcode::Ping, ..) => out.frame(Opcode::Pong, frame.payload),
                (Opcode::Close, ..) => {
                    return Err(match frame.payload {
                        [high, low, ..] => Failure::Closed(u16::from_be_bytes([*high, *low])),
                        _ => Failure::Ended,
                    });
                }
                (opcode @ (Opcode::Text | Opcode::Binary), false, false) => {
                    self.text = opcode == Opcode::Text;
                    self.fragments = Some(Box::new(frame.payload.to_vec()));
                }
                (Opcode::Continuation, fin, true) => {
                    self.fragment(frame.payload, fin, setup, out, sink)?;
                }
                _ => return Err(ProtocolError::Frame.into()),
            }
        }
        Ok(used)
    }

    fn fragment(
        &mut self,
        payload: &[u8],
        last: bool,
        setup: &Setup,
        out: &mut Outgoing,
        sink: &mut impl Sink,
    ) -> Result<(), Failure> {
        let Some(message) = &mut self.fragments else { return Ok(()) };
        if message.len() + payload.len() > LARGEST {
            return Err(ProtocolError::TooLarge.into());
        }
        message.extend_from_slice(payload);
        if last && let Some(message) = self.fragments.take() {
            if !self.text {
                sink.attachment(message.len());
                return Ok(());
            }
            let mut reply = |packet: &[u8]| out.frame(Opcode::Text, packet);
            self.core.packet(&message, setup, &mut reply, sink)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::support::*, *};

    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

    /// As a server writes it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(len as u8),
            len => {
                out.push(126);
                out.extend((len as u16).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    fn stream(frames: &[(u8, &str)]) -> Vec<u8> {
        let frames = frames.iter().map(|(first, text)| frame(*first, text.as_bytes()));
        std::iter::once(SWITCH.to_vec()).chain(frames).flatten().collect()
    }

    /// Feeds in pieces of these sizes, keeping what was not used, as the loop does.
    fn feed(bytes: &[u8], cuts: &[usize]) -> (WebSocket, Vec<String>, Result<(), Failure>) {
        let (setup, mut out) = (setup(), Outgoing::new(1));
        let mut session = WebSocket::start(3, &setup, &mut out);
        let (mut heard, mut held, mut at) = (Heard::default(), Vec::new(), 0);
        let mut cuts = cuts.iter().cycle();
        while at < bytes.len() {
            let cut = (*cuts.next().unwrap()).min(bytes.len() - at);
            held.extend_from_slice(&bytes[at..at + cut]);
            at += cut;
            match session.receive(&held, &setup, &mut out, &mut heard) {
                Ok(used) => drop(held.drain(..used)),
                Err(failure) => return (session, heard.0, Err(failure)),
            }
        }
        (session, heard.0, Ok(()))
    }

    const ALL: &[(u8, &str)] = &[
        (0x81, "0{\"sid\":\"a\"}"),
        (0x81, "40{\"sid\":\"b\"}"),
        (0x81, "430[]"),
        (0x01, "42[\"fr"),
        (0x89, "?"),
        (0x00, "agm"),
        (0x80, "ents\"]"),
        (0x81, "451-[\"m\",{}]"),
        (0x82, "attachment"),
        (0x81, "42[\"last\"]"),
    ];

    #[test]
    fn a_whole_conversation() {
        let (session, heard, done) = feed(&stream(ALL), &[10_000]);
        assert_eq!(done, Ok(()));
        assert!(session.is_live());
        assert_eq!(heard, ["[\"fragments\"]", "[\"m\",{}]", "[\"last\"]"]);
    }

    #[test]
    fn ends() {
        let wrong = Failure::Protocol(ProtocolError::Frame);
        for (frames, failure) in [
            (&[(0x88, "\u{3}\u{f0}bye")][..], None),
            (&[(0x88, "")], Some(Failure::Ended)),
            (&[(0x80, "x")], Some(wrong.clone())),
            (&[(0x01, "a"), (0x81, "b")], Some(wrong)),
        ] {
            let done = feed(&stream(frames), &[9]).2;
            match failure {
                Some(failure) => assert_eq!(done, Err(failure)),
                None => assert!(matches!(done, Err(Failure::Closed(_)))),
            }
        }
        let policy = [SWITCH, &[0x88, 2, 0x03, 0xf0]].concat();
        assert_eq!(feed(&policy, &[100]).2, Err(Failure::Closed(1008)));
        let busy = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";
        assert_eq!(feed(busy, &[7]).2, Err(Failure::Http(503)));
    }

    proptest! {
        /// However the bytes come, what is heard is the same.
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(1usize..40, 1..50)) {
            let (session, heard, done) = feed(&stream(ALL), &cuts);
            prop_assert_eq!(done, Ok(()));
            prop_assert!(session.is_live());
            prop_assert_eq!(heard, ["[\"fragments\"]", "[\"m\",{}]", "[\"last\"]"]);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 1..200), upgraded: bool) {
            let bytes = if upgraded { [SWITCH, &bytes].concat() } else { bytes };
            let _ = feed(&bytes, &[7]);
        }
    }
}
