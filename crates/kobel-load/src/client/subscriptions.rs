//! What a connection emits once it is connected.

use serde::{Deserialize, Serialize};

/// An event to emit. `{n}` or `{number}` in its JSON is the connection's number, `{room}` that number modulo the
/// number of rooms, `{device}` a device's uuid, each in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emit {
    pub(crate) event: String,
    /// The argument, as JSON.
    pub(crate) json: String,
}

/// What the connections of a run emit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscriptions {
    pub(crate) emits: Vec<Emit>,
    /// What the first `witnesses` connections emit in place of it; empty: the same.
    pub(crate) witness_emits: Vec<Emit>,
    pub(crate) witnesses: u32,
    /// What `{room}` counts to.
    pub(crate) rooms: u32,
    /// What `{device}` stands for, in turn.
    pub(crate) devices: Vec<String>,
    /// The server does not answer, so nothing is waited for.
    pub(crate) unanswered: bool,
}

impl Subscriptions {
    /// Whether each event is answered.
    pub(crate) fn acked(&self) -> bool {
        !self.unanswered
    }

    /// The packets of this connection.
    pub(crate) fn packets(&self, number: u32) -> impl Iterator<Item = String> {
        let witness = number < self.witnesses && !self.witness_emits.is_empty();
        let emits = if witness { &self.witness_emits } else { &self.emits };
        emits.iter().enumerate().map(move |(id, emit)| {
            let event = serde_json::Value::from(emit.event.as_str());
            let json = self.filled(&emit.json, number);
            if self.unanswered {
                format!("42[{event},{json}]")
            } else {
                format!("42{id}[{event},{json}]")
            }
        })
    }

    fn filled(&self, json: &str, number: u32) -> String {
        let device = match self.devices.len() {
            0 => "",
            count => &self.devices[number as usize % count],
        };
        // The long form is for the help, whose library reads `{n}` as the end of a line.
        json.replace("{n}", &number.to_string())
            .replace("{number}", &number.to_string())
            .replace("{room}", &(number % self.rooms.max(1)).to_string())
            .replace("{device}", device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(event: &str, json: &str) -> Emit {
        Emit { event: event.into(), json: json.into() }
    }

    #[test]
    fn each_connection_gets_its_own() {
        let mut subscriptions = Subscriptions {
            emits: vec![
                emit("join", "\"r{room}\""),
                emit("he\"y", "{\"n\":{n},\"m\":{number},\"d\":\"{device}\"}"),
            ],
            witness_emits: vec![emit("watch", "0")],
            witnesses: 2,
            rooms: 3,
            devices: vec!["a".into(), "b".into()],
            unanswered: false,
        };
        let of = |subscriptions: &Subscriptions, n| subscriptions.packets(n).collect::<Vec<_>>();
        assert_eq!(of(&subscriptions, 1), ["420[\"watch\",0]"]);
        assert_eq!(
            of(&subscriptions, 7),
            ["420[\"join\",\"r1\"]", "421[\"he\\\"y\",{\"n\":7,\"m\":7,\"d\":\"b\"}]"]
        );
        subscriptions.unanswered = true;
        assert_eq!(of(&subscriptions, 0), ["42[\"watch\",0]"]);
        assert_eq!(Subscriptions::default().packets(5).count(), 0);
    }
}
