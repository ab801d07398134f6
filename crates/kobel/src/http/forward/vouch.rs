//! Requests that another node passed on: whose they are.

use std::sync::PoisonError;

use http::Request;
use hyper::body::Incoming;
use kobel_fanout::{Client, Vouch};
use kobel_wire::Timestamp;

use super::{
    Forward, Inner,
    word::{HEADER, NoWord, Word},
};

/// In the extensions of a request that another node passed on: it is not passed on again, and whom
/// it may come from was checked there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded {
    /// It was meant for another node than this one.
    pub misdirected: bool,
}

impl Vouch for Forward {
    fn client(&self, request: &mut Request<Incoming>) -> Option<Client> {
        match self.0.hear(request)? {
            Ok(word) => {
                let misdirected = word.to != self.0.tag;
                request.extensions_mut().insert(Forwarded { misdirected });
                Some(Client { address: word.client, secure: word.secure, proxied: true })
            }
            Err(why) => {
                // Anybody can send one, so the request is as good as any.
                self.0.counts.no_word(why);
                if let Some(left_out) = self.0.no_word.due() {
                    tracing::warn!(left_out, "a header Kobel-Forwarded is not taken: {why}");
                }
                None
            }
        }
    }
}

impl Inner {
    /// What another node says of a request.
    fn hear(&self, request: &mut Request<Incoming>) -> Option<Result<Word, NoWord>> {
        let mut said = request.headers().get_all(HEADER).iter().cloned();
        let (first, second) = (said.next()?, said.next());
        request.headers_mut().remove(HEADER);
        if second.is_some() {
            return Some(Err(NoWord::Malformed));
        }
        let now = Timestamp::now();
        let about = (request.method(), request.uri());
        Some(Word::read(&first, &self.secret, about, now).and_then(|word| {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.is_new(word.nonce, now) { Ok(word) } else { Err(NoWord::Replayed) }
        }))
    }
}
