//! A session on HTTP long-polling (Engine.IO v4, "HTTP long-polling"): one connection waits for
//! what the server has to say, another carries what the client says.

use super::{Core, Failure, Outgoing, Setup, Sink, State};
use crate::protocol::{
    ProtocolError, http,
    packet::{Packet, SEPARATOR, session_id},
};

/// Which of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Asks and waits.
    Poll,
    /// Tells.
    Post,
}

/// A session on long-polling.
#[derive(Debug)]
pub(crate) struct Polling {
    core: Core,
    /// The id of the session, once it is open.
    sid: String,
    /// Packets that wait until the answer to those before has come.
    waiting: Vec<u8>,
    posting: bool,
}

impl Polling {
    /// A session, and its first request on [`Lane::Poll`].
    pub(crate) fn start(number: u32, setup: &Setup, polls: &mut Outgoing) -> Self {
        let session = Self {
            core: Core::new(number),
            sid: String::new(),
            waiting: Vec::new(),
            posting: false,
        };
        session.poll(setup, polls);
        session
    }

    /// Whether it is connected and subscribed.
    pub(crate) fn is_live(&self) -> bool {
        self.core.state == State::Live
    }

    /// Takes what has come on a lane and was not taken before, and says how many bytes it used.
    /// What is to be sent goes to `polls` and `posts`, by its lane.
    pub(crate) fn receive(
        &mut self,
        lane: Lane,
        bytes: &[u8],
        setup: &Setup,
        (polls, posts): (&mut Outgoing, &mut Outgoing),
        sink: &mut impl Sink,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while used < bytes.len() {
            let Some((answer, len)) = http::answer(&bytes[used..])? else { break };
            used += len;
            if answer.status != 200 {
                return Err(Failure::Http(answer.status));
            }
            match lane {
                Lane::Post => self.posting = false,
                Lane::Poll => {
                    self.payload(&answer.body, setup, sink)?;
                    self.poll(setup, polls);
                }
            }
            self.post(setup, posts);
        }
        Ok(used)
    }

    fn payload(&mut self, body: &[u8], setup: &Setup, sink: &mut impl Sink) -> Result<(), Failure> {
        for text in body.split(|byte| *byte == SEPARATOR) {
            // An attachment, in base64.
            if let Some((b'b', base64)) = text.split_first() {
                sink.attachment(base64.len() / 4 * 3);
                continue;
            }
            if let Packet::Open(json) = Packet::read(text)? {
                self.sid = session_id(json).ok_or(ProtocolError::Packet)?;
            }
            let waiting = &mut self.waiting;
            let mut reply = |packet: &[u8]| {
                if !waiting.is_empty() {
                    waiting.push(SEPARATOR);
                }
                waiting.extend_from_slice(packet);
            };
            self.core.packet(text, setup, &mut reply, sink)?;
        }
        if self.sid.is_empty() { Err(ProtocolError::Unexpected.into()) } else { Ok(()) }
    }

    fn poll(&self, setup: &Setup, polls: &mut Outgoing) {
        let Setup { resource, headers, .. } = setup;
        let sid = self.session();
        let head = format!("GET {resource}&transport=polling{sid} HTTP/1.1\r\n{headers}\r\n");
        polls.bytes.extend_from_slice(head.as_bytes());
    }

    fn post(&mut self, setup: &Setup, posts: &mut Outgoing) {
        if self.posting || self.waiting.is_empty() {
            return;
        }
        self.posting = true;
        let Setup { resource, headers, .. } = setup;
        let (sid, len) = (self.session(), self.waiting.len());
        let head = format!(
            "POST {resource}&transport=polling{sid} HTTP/1.1\r\n{headers}\
             Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len}\r\n\r\n"
        );
        posts.bytes.extend_from_slice(head.as_bytes());
        posts.bytes.append(&mut self.waiting);
    }

    fn session(&self) -> String {
        if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::support::*, *};

    fn answer(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn a_whole_conversation() {
        let (setup, mut heard) = (setup(), Heard::default());
        let (mut polls, mut posts) = (Outgoing::new(1), Outgoing::new(1));
        let mut session = Polling::start(13, &setup, &mut polls);
        // What came, and what is sent for it on each lane.
        for (lane, body, poll, post) in [
            (Lane::Poll, "0{\"sid\":\"a1\"}", "GET", "40{\"token\":\"t\"}"),
            (Lane::Post, "ok", "", ""),
            (Lane::Poll, "40{\"sid\":\"b\"}", "GET", "420[\"join\",\"room-3\"]"),
            // Before the answer to the post nothing is posted.
            (Lane::Poll, "2\u{1e}430[]\u{1e}42[\"a\"]", "GET", ""),
            (Lane::Post, "ok", "", "3"),
            (Lane::Post, "ok", "", ""),
            (Lane::Poll, "451-[\"m\",{}]\u{1e}bAQID\u{1e}42[\"b\"]", "GET", ""),
        ] {
            polls.bytes.clear();
            posts.bytes.clear();
            let bytes = answer(body);
            for cut in [bytes.len() / 2, bytes.len()] {
                let to = (&mut polls, &mut posts);
                let used = session.receive(lane, &bytes[..cut], &setup, to, &mut heard).unwrap();
                assert_eq!(used, if cut == bytes.len() { cut } else { 0 });
            }
            let (polls, posts) = (polls.bytes.as_slice(), posts.bytes.as_slice());
            assert!(polls.starts_with(poll.as_bytes()) && polls.is_empty() == poll.is_empty());
            assert!(posts.ends_with(post.as_bytes()) && posts.is_empty() == post.is_empty());
            if !posts.is_empty() {
                let len = format!("Content-Length: {}\r\n\r\n", post.len());
                assert!(memchr::memmem::find(posts, len.as_bytes()).is_some());
                assert!(posts.starts_with(
                    b"POST /socket.io/?EIO=4&transport=polling&sid=a1 HTTP/1.1\r\nHost: hub:8000\r\n"
                ));
            }
        }
        assert!(session.is_live());
        assert_eq!(heard.0, ["[\"a\"]", "[\"m\",{}]", "[\"b\"]"]);
    }

    #[test]
    fn ends() {
        for (bytes, failure) in [
            (&b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"[..], Failure::Http(400)),
            (&answer("40{}"), Failure::Protocol(ProtocolError::Unexpected)),
            (&answer(""), Failure::Protocol(ProtocolError::Packet)),
            (&answer("0{\"sid\":\"a\"}\u{1e}1"), Failure::Ended),
        ] {
            let (setup, mut heard) = (setup(), Heard::default());
            let (mut polls, mut posts) = (Outgoing::new(1), Outgoing::new(1));
            let mut session = Polling::start(0, &setup, &mut polls);
            let to = (&mut polls, &mut posts);
            assert_eq!(session.receive(Lane::Poll, bytes, &setup, to, &mut heard), Err(failure));
        }
    }
}
