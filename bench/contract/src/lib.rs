//! What every server of the bench does, so that they can be compared: it listens on
//! 127.0.0.1:`PORT`, lets clients join by the acknowledged event `join` with a room's name, and
//! publishes the event `news` to each of `ROOMS` rooms, `room-0` and on, `RATE` times a second,
//! with about `PAYLOAD` bytes of JSON that has `ts`, the µs since 1970 at which it was published.
//! It begins to publish once there were `JOINS` joins, so that what a connection costs and what an
//! event costs can be told apart.
//!
//! `node/server.js` does the same.

use std::{
    env,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What a server is told by its environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// How many rooms there are.
    pub rooms: u32,
    /// Events a second to each of them; 0: none.
    pub rate: f64,
    /// Bytes of an event's JSON.
    pub payload: usize,
    /// Joins before the first event.
    pub joins: u32,
}

impl Settings {
    /// Out of the environment.
    ///
    /// # Errors
    /// Says which variable is not a number.
    pub fn from_env() -> Result<Self, String> {
        Ok(Self {
            port: variable("PORT", 3000)?,
            rooms: variable("ROOMS", 1)?,
            rate: variable("RATE", 1.0)?,
            payload: variable("PAYLOAD", 300)?,
            joins: variable("JOINS", 0)?,
        })
    }

    /// The JSON of an event that is published now.
    pub fn news(&self) -> String {
        let ts = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        let mut json = format!("{{\"ts\":{ts},\"host\":\"web-1\",\"note\":\"");
        let rest = self.payload.saturating_sub(json.len() + 2);
        json.extend(std::iter::repeat_n('x', rest));
        json.push_str("\"}");
        json
    }
}

fn variable<T: FromStr>(name: &str, default: T) -> Result<T, String> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => text.parse().map_err(|_| format!("{name}={text} is not a number")),
    }
}

/// When which room is due: the rooms' events are spread evenly over the time between two of the
/// same room.
#[derive(Debug)]
pub struct Schedule {
    rooms: u64,
    /// Of all rooms together.
    per_second: f64,
    done: u64,
}

/// What is not published in time is left out after so long: a server that cannot keep up shows by
/// the events that are missing, not by one endless burst.
const BEHIND: Duration = Duration::from_secs(1);

impl Schedule {
    /// Of these settings; `None` when nothing is ever due.
    pub fn new(settings: &Settings) -> Option<Self> {
        let per_second = settings.rate * f64::from(settings.rooms);
        (per_second > 0.0).then(|| Self { rooms: settings.rooms.into(), per_second, done: 0 })
    }

    /// The number of the room that is due so long after the start, if one is; ask until none is.
    pub fn due(&mut self, since_start: Duration) -> Option<u64> {
        let all = (since_start.as_secs_f64() * self.per_second) as u64;
        let lost = (BEHIND.as_secs_f64() * self.per_second) as u64 + self.rooms;
        if all > self.done + lost {
            self.done = all - 1;
        }
        (all > self.done).then(|| {
            self.done += 1;
            (self.done - 1) % self.rooms
        })
    }

    /// When the next is due, after the start.
    pub fn next(&self) -> Duration {
        Duration::from_secs_f64((self.done + 1) as f64 / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rooms: u32, rate: f64) -> Settings {
        Settings { port: 1, rooms, rate, payload: 300, joins: 0 }
    }

    #[test]
    fn rooms_take_turns_evenly() {
        let mut schedule = Schedule::new(&settings(4, 2.0)).unwrap_or_else(|| unreachable!());
        let mut due = Vec::new();
        for ms in (0..=1000).step_by(25) {
            while let Some(room) = schedule.due(Duration::from_millis(ms)) {
                due.push((ms, room));
            }
        }
        let expected: Vec<_> = (1..=8).map(|n| (n * 125, (n - 1) % 4)).collect();
        assert_eq!(due, expected);
        assert_eq!(schedule.next(), Duration::from_millis(1125));
        assert!(Schedule::new(&settings(4, 0.0)).is_none());
    }

    #[test]
    fn what_is_too_late_is_left_out() {
        let mut schedule = Schedule::new(&settings(1, 10.0)).unwrap_or_else(|| unreachable!());
        let mut count = 0;
        while schedule.due(Duration::from_secs(60)).is_some() {
            count += 1;
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn an_event_has_its_size_and_stamp() {
        let news = settings(1, 1.0).news();
        assert_eq!(news.len(), 300);
        let json: serde_json::Value = serde_json::from_str(&news).unwrap_or_default();
        assert!(json["ts"].as_u64() > Some(1_700_000_000_000_000));
    }
}
