//! A connection that is open: its session, and the sockets under it.

use rustix::{event::epoll::EventFlags, io::Errno};

use super::{
    Shared, ended,
    link::{Link, kind},
    micros,
};
use crate::client::{
    Failure,
    polling::{Lane, Polling},
    websocket::WebSocket,
};

/// Which connection, which of its links, and which of its lives an event of the kernel is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token(pub(super) u64);

impl Token {
    pub(super) fn new(index: usize, life: u16, lane: Lane) -> Self {
        let lane = u64::from(lane == Lane::Post);
        Self((index as u64) << 32 | u64::from(life) << 1 | lane)
    }

    pub(super) fn read(self) -> (usize, u16, Lane) {
        let lane = if self.0 & 1 == 1 { Lane::Post } else { Lane::Poll };
        ((self.0 >> 32) as usize, (self.0 >> 1) as u16, lane)
    }
}

/// A session on its transport.
pub(super) enum Session {
    WebSocket(WebSocket),
    Polling(Box<Polling>),
}

impl Session {
    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::WebSocket(session) => session.is_live(),
            Self::Polling(session) => session.is_live(),
        }
    }
}

/// An open connection.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) link: Link,
    /// Of polling: see [`Lane::Post`].
    pub(super) post: Option<Link>,
    /// Connected and subscribed.
    pub(super) live: bool,
}

impl Open {
    /// The kernel has something about one of its sockets.
    pub(super) fn ready(
        &mut self,
        token: Token,
        lane: Lane,
        flags: EventFlags,
        witness: bool,
        slow: bool,
        shared: &mut Shared,
    ) -> Result<(), Failure> {
        let io = |error: Errno| Failure::Io(kind(error));
        let link = match lane {
            Lane::Poll => &mut self.link,
            Lane::Post => match &mut self.post {
                Some(post) => post,
                None => return Ok(()),
            },
        };
        if flags.contains(EventFlags::OUT) {
            link.writable(&shared.epoll, token.0).map_err(io)?;
        }
        if slow {
            return if ended(flags) { Err(Failure::Ended) } else { Ok(()) };
        }
        if !flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            return Ok(());
        }
        let Some(count) = link.read(&mut shared.buffer).map_err(io)? else { return Ok(()) };
        if count == 0 {
            // The lane that tells may be closed by a server between two requests.
            return match lane {
                Lane::Poll => Err(Failure::Ended),
                Lane::Post => {
                    self.post = None;
                    Ok(())
                }
            };
        }
        let Shared { setup, buffer, out, posts, meter, .. } = shared;
        (meter.now, meter.witness) = (micros(), witness);
        out.bytes.clear();
        posts.bytes.clear();
        let bytes = &buffer[..count];
        let used = match &mut self.session {
            Session::WebSocket(session) => session.receive(bytes, setup, out, meter)?,
            Session::Polling(session) => {
                session.receive(lane, bytes, setup, (&mut *out, &mut *posts), meter)?
            }
        };
        link.hold(&bytes[used..]);
        self.flush(token, shared)
    }

    fn flush(&mut self, token: Token, shared: &mut Shared) -> Result<(), Failure> {
        let io = |error: Errno| Failure::Io(kind(error));
        let (index, life, _) = token.read();
        let Shared { epoll, out, posts, plan, .. } = shared;
        if !out.bytes.is_empty() {
            let token = Token::new(index, life, Lane::Poll).0;
            self.link.send(&out.bytes, epoll, token).map_err(io)?;
        }
        if !posts.bytes.is_empty() {
            let token = Token::new(index, life, Lane::Post).0;
            let post = match &mut self.post {
                Some(post) => post,
                None => {
                    let link =
                        Link::connect(plan.address, None, false, epoll, token).map_err(io)?;
                    self.post.insert(link)
                }
            };
            post.send(&posts.bytes, epoll, token).map_err(io)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_says_what_it_was_made_of(index in 0usize..1_000_000, life: u16, post: bool) {
            let lane = if post { Lane::Post } else { Lane::Poll };
            prop_assert_eq!(Token::new(index, life, lane).read(), (index, life, lane));
        }
    }
}
