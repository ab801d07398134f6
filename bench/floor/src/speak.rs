//! The little that is said before the events: an upgrade, a connect, a join.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// What a client said.
pub(crate) enum Heard {
    /// To be answered by this.
    Say(Vec<u8>),
    /// Joins this room, and is answered by this.
    Join(String, Vec<u8>),
}

/// Takes what came; `None` when the client is to be dropped.
pub(crate) fn hear(held: &mut Vec<u8>, upgraded: &mut bool, heard: &mut Vec<Heard>) -> Option<()> {
    if !*upgraded {
        let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Some(());
        };
        heard.push(Heard::Say(upgrade(&held[..end])?));
        held.drain(..end + 4);
        *upgraded = true;
    }
    while held.len() >= 6 {
        let len = usize::from(held[1] & 0x7f);
        // The client's frames are small, masked and whole.
        if len > 125 {
            return None;
        }
        if held.len() < 6 + len {
            break;
        }
        let mask = [held[2], held[3], held[4], held[5]];
        let payload: Vec<_> = held[6..6 + len]
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        let text = (held[0] == 0x81).then_some(payload)?;
        held.drain(..6 + len);
        packet(std::str::from_utf8(&text).ok()?, heard)?;
    }
    Some(())
}

fn packet(text: &str, heard: &mut Vec<Heard>) -> Option<()> {
    if text.starts_with("40") {
        heard.push(Heard::Say(frame("40{\"sid\":\"floor\"}")));
    } else if let Some(event) = text.strip_prefix("42") {
        let (id, args) = event.split_at(event.find('[')?);
        let room = args.strip_prefix("[\"join\",\"")?.strip_suffix("\"]")?;
        heard.push(Heard::Join(room.into(), frame(&format!("43{id}[]"))));
    } else if text != "3" {
        return None;
    }
    Some(())
}

fn upgrade(head: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(head).ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    };
    let key = head.lines().find_map(header)?;
    let hash = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(hash)
    )
    .into_bytes();
    // An hour between pings: there are none in a run.
    answer.extend(frame(
        "0{\"sid\":\"floor\",\"upgrades\":[],\"pingInterval\":3600000,\"pingTimeout\":3600000,\
         \"maxPayload\":1000000}",
    ));
    Some(answer)
}

/// A text frame.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}
