//! HTTP/1.1 as far as a client of one server needs it: requests that are ready to send, and answers
//! with a known length or in chunks (RFC 9112, sections 6 and 7).

use super::{LARGEST, ProtocolError};

/// An answer; the body is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The most bytes of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// The answer at the beginning of `bytes`, and its length; `None` while it is incomplete.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>, ProtocolError> {
    let Some((head, start)) = head(bytes)? else { return Ok(None) };
    let rest = &bytes[start..];
    if head.status == 101 || head.status == 204 || head.status == 304 {
        return Ok(Some((Answer { status: head.status, body: Vec::new() }, start)));
    }
    if head.chunked {
        let body = chunks(rest)?;
        return Ok(body.map(|(body, len)| (Answer { status: head.status, body }, start + len)));
    }
    let len = head.length.ok_or(ProtocolError::Http)?;
    if len > LARGEST {
        return Err(ProtocolError::TooLarge);
    }
    let body = rest.get(..len).map(<[u8]>::to_vec);
    Ok(body.map(|body| (Answer { status: head.status, body }, start + len)))
}

/// The status of the answer at the beginning of `bytes` and the length of its head, for an upgrade;
/// `None` while the head is incomplete.
pub(crate) fn status(bytes: &[u8]) -> Result<Option<(u16, usize)>, ProtocolError> {
    Ok(head(bytes)?.map(|(head, len)| (head.status, len)))
}

struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
}

fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, ProtocolError> {
    let start = &bytes[..bytes.len().min(9)];
    if !b"HTTP/1.1 ".starts_with(start) && !b"HTTP/1.0 ".starts_with(start) {
        return Err(ProtocolError::Http);
    }
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > LONGEST_HEAD { Err(ProtocolError::Http) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| ProtocolError::Http)?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.get(9..12))
        .and_then(|status| status.parse().ok())
        .ok_or(ProtocolError::Http)?;
    let mut head = Head { status, length: None, chunked: false };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(ProtocolError::Http)?;
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.trim().parse().map_err(|_| ProtocolError::Http)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    Ok(Some((head, end + 4)))
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ProtocolError> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = memchr::memmem::find(&bytes[at..], b"\r\n") else {
            return if bytes.len() - at > 1024 { Err(ProtocolError::Http) } else { Ok(None) };
        };
        let text = std::str::from_utf8(&bytes[at..at + line]).map_err(|_| ProtocolError::Http)?;
        let size = text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| ProtocolError::Http)?;
        if size > LARGEST || body.len() + size > LARGEST {
            return Err(ProtocolError::TooLarge);
        }
        at += line + 2;
        let Some(chunk) = bytes.get(at..at + size) else { return Ok(None) };
        match bytes.get(at + size..at + size + 2) {
            None => return Ok(None),
            Some(b"\r\n") => {}
            // Trailers are not asked for (no `TE`), so nothing else may stand here.
            Some(_) => return Err(ProtocolError::Http),
        }
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
        body.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";

    #[test]
    fn answers_however_they_are_cut() {
        for (bytes, status) in [(PLAIN, 200), (CHUNKED, 400)] {
            let whole = Answer { status, body: b"hello".to_vec() };
            for cut in 0..bytes.len() {
                assert_eq!(answer(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
            let twice = [bytes, bytes].concat();
            assert_eq!(answer(&twice), Ok(Some((whole, bytes.len()))));
        }
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00";
        assert_eq!(status(switch), Ok(Some((101, switch.len() - 2))));
    }

    #[test]
    fn refuses_what_is_no_answer() {
        for (bytes, error) in [
            (&b"SSH-2.0-OpenSSH"[..], ProtocolError::Http),
            (b"HTTP/1.1 abc OK\r\n\r\n", ProtocolError::Http),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", ProtocolError::Http),
            (b"HTTP/1.1 200 OK\r\n\r\n", ProtocolError::Http),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ProtocolError::Http),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ProtocolError::TooLarge),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ProtocolError::Http),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
                ProtocolError::TooLarge,
            ),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", ProtocolError::Http),
        ] {
            assert_eq!(answer(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), chunked: bool) {
            let head: &[u8] = if chunked {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            } else {
                b"HTTP/1.1 "
            };
            let _ = answer(&[head, &bytes].concat());
            let _ = answer(&bytes);
        }
    }
}
