//! Rooms and fan-out against a model: each member gets each frame once and in the order of
//! publication, nobody else gets any.

use std::collections::{HashMap, hash_map::Entry};

use kobel_fanout::{Config, DisconnectReason, Frame, Policy, Room, SocketId};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use crate::support::{Fixture, Polling, Ws};

const CLIENTS: usize = 6;
const ROOMS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Connect(usize),
    /// By the application.
    Disconnect(usize),
    /// Without a word.
    Vanish(usize),
    Join(usize, usize),
    Leave(usize, usize),
    Publish(usize),
    Emit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, room) = (0..CLIENTS, 0..ROOMS);
    prop_oneof![
        2 => client.clone().prop_map(Step::Connect),
        1 => client.clone().prop_map(Step::Disconnect),
        1 => client.clone().prop_map(Step::Vanish),
        6 => (client.clone(), room.clone()).prop_map(|(c, r)| Step::Join(c, r)),
        3 => (client.clone(), room.clone()).prop_map(|(c, r)| Step::Leave(c, r)),
        9 => room.prop_map(Step::Publish),
        2 => client.prop_map(Step::Emit),
    ]
}

/// A connected client as the model knows it.
struct Member {
    socket: SocketId,
    rooms: [bool; ROOMS],
    expected: Vec<usize>,
    reader: JoinHandle<Vec<usize>>,
}

/// Reads numbers to the end of the connection or the number 0.
fn read_all(packets: impl IntoIterator<Item = String>, got: &mut Vec<usize>) -> bool {
    for packet in packets {
        match packet.as_str() {
            "42[\"n\",0]" | "41" | "1" => return false,
            "2" | "6" => {}
            text => {
                let number = text.strip_prefix("42[\"n\",").and_then(|t| t.strip_suffix(']'));
                got.push(number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text}")));
            }
        }
    }
    true
}

fn read_ws(mut ws: Ws) -> JoinHandle<Vec<usize>> {
    tokio::spawn(async move {
        let mut got = Vec::new();
        while let Some(message) = ws.next().await {
            if !message.is_text() || !read_all([message.to_string()], &mut got) {
                break;
            }
        }
        got
    })
}

fn read_polling(polling: Polling) -> JoinHandle<Vec<usize>> {
    tokio::spawn(async move {
        let mut got = Vec::new();
        loop {
            let answer = polling.get().await;
            let packets: Vec<_> = answer.packets().into_iter().map(str::to_owned).collect();
            if answer.status != 200 || !read_all(packets, &mut got) {
                return got;
            }
        }
    })
}

async fn connect(fixture: &Fixture, client: usize) -> Member {
    let known = fixture.app.connected().len();
    // A third of them by polling.
    let reader = if client.is_multiple_of(3) {
        read_polling(fixture.polling().await)
    } else {
        read_ws(fixture.ws().await)
    };
    let socket = fixture.app.connected()[known];
    Member { socket, rooms: [false; ROOMS], expected: Vec::new(), reader }
}

fn frame(n: usize) -> std::sync::Arc<Frame> {
    Frame::event("/", "n", &n, Policy::Deliver).unwrap()
}

async fn agrees(member: Member) -> Result<(), TestCaseError> {
    let got = member.reader.await.map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(got, member.expected);
    Ok(())
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let rooms = ["a", "b", "c"].map(Room::from);
    let fixture = Fixture::config(|c: &mut Config| c.shards = 2).await;
    let server = fixture.server.clone();
    let mut members: HashMap<usize, Member> = HashMap::new();
    let mut ended = Vec::new();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Connect(client) => {
                if let Entry::Vacant(vacant) = members.entry(client) {
                    vacant.insert(connect(&fixture, client).await);
                }
            }
            Step::Disconnect(client) => {
                if let Some(member) = members.remove(&client) {
                    server.disconnect(member.socket, DisconnectReason::Server).await;
                    ended.push(member);
                }
            }
            Step::Vanish(client) => {
                if let Some(member) = members.remove(&client) {
                    // What it has read by then is its own affair.
                    member.reader.abort();
                }
            }
            Step::Join(client, room) => {
                if let Some(member) = members.get_mut(&client) {
                    server.join(member.socket, rooms[room].clone()).await;
                    member.rooms[room] = true;
                }
            }
            Step::Leave(client, room) => {
                if let Some(member) = members.get_mut(&client) {
                    server.leave(member.socket, &rooms[room]).await;
                    member.rooms[room] = false;
                }
            }
            Step::Publish(room) => {
                number += 1;
                for member in members.values_mut().filter(|member| member.rooms[room]) {
                    member.expected.push(number);
                }
                server.publish(&rooms[room], frame(number)).await;
            }
            Step::Emit(client) => {
                if let Some(member) = members.get_mut(&client) {
                    number += 1;
                    member.expected.push(number);
                    server.emit(member.socket, frame(number)).await;
                }
            }
        }
    }
    for member in members.values() {
        server.emit(member.socket, frame(0)).await;
    }
    for member in members.into_values().chain(ended) {
        agrees(member).await?;
    }
    fixture.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_get_each_frame_once_and_in_order(steps in prop::collection::vec(step(), 20..150)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(steps))?;
    }
}
