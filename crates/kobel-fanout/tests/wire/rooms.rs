//! Rooms and fan-out against a model: each member gets each frame once and in the order of
//! publication, nobody else gets any. While frames are gathered, the order holds in each room, and
//! between all rooms and what is sent to a member itself.

use std::collections::{HashMap, hash_map::Entry};

use kobel_fanout::{Config, DisconnectReason, Frame, Gathering, Policy, Room, SocketId};
use proptest::prelude::*;
use tokio::{sync::watch, task::JoinHandle};

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
    /// It reads nothing, or reads again.
    Read(usize, bool),
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
        3 => (client.clone(), any::<bool>()).prop_map(|(c, reads)| Step::Read(c, reads)),
        9 => room.prop_map(Step::Publish),
        2 => client.prop_map(Step::Emit),
    ]
}

/// A connected client as the model knows it.
struct Member {
    socket: SocketId,
    rooms: [bool; ROOMS],
    /// Numbers, and the room of each; without one, it was sent to the member itself.
    expected: Vec<(usize, Option<usize>)>,
    reads: watch::Sender<bool>,
    reader: JoinHandle<Vec<usize>>,
}

/// Reads numbers to the end of the connection or of the run.
fn read_all(packets: impl IntoIterator<Item = String>, got: &mut Vec<usize>) -> bool {
    for packet in packets {
        match packet.as_str() {
            "42[\"end\"]" | "41" | "1" => return false,
            "2" | "6" => {}
            text => {
                let number = text.strip_prefix("42[\"n\",[").and_then(|t| t.split(',').next());
                got.push(number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text}")));
            }
        }
    }
    true
}

fn read_ws(mut ws: Ws, mut reads: watch::Receiver<bool>) -> JoinHandle<Vec<usize>> {
    tokio::spawn(async move {
        let mut got = Vec::new();
        loop {
            // Whoever could make it read again is gone: then it reads.
            let _ = reads.wait_for(|reads| *reads).await;
            let Some(message) = ws.next().await else { break };
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
    let (reads, may_read) = watch::channel(true);
    let reader = if client.is_multiple_of(3) {
        read_polling(fixture.polling().await)
    } else {
        let mut ws = Ws::narrow(fixture.addr).await;
        ws.join("/").await;
        read_ws(ws, may_read)
    };
    let socket = fixture.app.connected()[known];
    Member { socket, rooms: [false; ROOMS], expected: Vec::new(), reads, reader }
}

fn frame(n: usize) -> std::sync::Arc<Frame> {
    // Each eighth is larger than what the kernel holds for a socket on loopback: part of it waits,
    // and all that comes after it, also of a client that does read.
    let size = if n.is_multiple_of(8) { 3_500_000 } else { 10 };
    Frame::event("/", "n", &(n, "x".repeat(size)), Policy::Deliver).unwrap()
}

async fn agrees(member: Member, gathering: Gathering) -> Result<(), TestCaseError> {
    let got = member.reader.await.map_err(|e| TestCaseError::fail(e.to_string()))?;
    let mut expected: Vec<_> = member.expected.iter().map(|(number, _)| *number).collect();
    if gathering == Gathering::Never {
        prop_assert_eq!(got, expected);
        return Ok(());
    }
    let room_of: HashMap<_, _> = member.expected.into_iter().collect();
    // Rooms may change places between two frames for the member itself; sorted by room there,
    // both must be the same.
    let sort = |numbers: &mut Vec<usize>| {
        let own = |number: &usize| room_of.get(number).copied().flatten().is_none();
        for part in numbers.split_mut(own) {
            part.sort_by_key(|number| room_of.get(number).copied().flatten());
        }
    };
    let mut sorted = got;
    sort(&mut sorted);
    sort(&mut expected);
    prop_assert_eq!(sorted, expected);
    Ok(())
}

async fn run(steps: Vec<Step>, gathering: Gathering) -> Result<(), TestCaseError> {
    let rooms = ["a", "b", "c"].map(Room::from);
    let change = |c: &mut Config| {
        (c.shards, c.gathering) = (2, gathering);
        (c.limits.backlog, c.deflate_from) = (64_000_000, None);
    };
    let fixture = Fixture::config(change).await;
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
                    let _ = member.reads.send(true);
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
            Step::Read(client, reads) => {
                if let Some(member) = members.get(&client) {
                    let _ = member.reads.send(reads);
                }
            }
            Step::Publish(room) => {
                number += 1;
                for member in members.values_mut().filter(|member| member.rooms[room]) {
                    member.expected.push((number, Some(room)));
                }
                server.publish(&rooms[room], frame(number)).await;
            }
            Step::Emit(client) => {
                if let Some(member) = members.get_mut(&client) {
                    number += 1;
                    member.expected.push((number, None));
                    server.emit(member.socket, frame(number)).await;
                }
            }
        }
    }
    for member in members.values() {
        let end = Frame::event_args::<u8>("/", "end", &[], Policy::Deliver).unwrap();
        server.emit(member.socket, end).await;
        let _ = member.reads.send(true);
    }
    for member in members.into_values().chain(ended) {
        agrees(member, gathering).await?;
    }
    fixture.stop().await;
    Ok(())
}

fn check(steps: Vec<Step>, gathering: Gathering) -> Result<(), TestCaseError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(steps, gathering))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_get_each_frame_once_and_in_order(steps in prop::collection::vec(step(), 20..150)) {
        check(steps, Gathering::Never)?;
    }

    #[test]
    fn so_they_do_while_frames_are_gathered(steps in prop::collection::vec(step(), 20..150)) {
        check(steps, Gathering::Always)?;
    }
}
