//! The floor: what no server can go below. One thread, one epoll, and for each event and each
//! connection one plain `send(2)` of bytes that are ready. It knows of WebSocket, Engine.IO and
//! Socket.IO only what its one client needs, keeps nothing for who does not read, and checks
//! nothing: it is a measure, not a server.

mod speak;

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use bench_contract::{Schedule, Settings};
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    fs::Timespec,
    io::Errno,
    net::{
        self, AddressFamily, Ipv4Addr, RecvFlags, SendFlags, SocketAddrV4, SocketFlags, SocketType,
        sockopt,
    },
};
use speak::Heard;

/// The token of the listening socket.
const LISTENER: u64 = u64::MAX;

struct Floor {
    epoll: OwnedFd,
    listener: OwnedFd,
    clients: HashMap<u64, Client>,
    rooms: HashMap<String, Vec<u64>>,
    next: u64,
    joins: u32,
    /// Events that a full socket did not take.
    dropped: u64,
}

struct Client {
    fd: OwnedFd,
    held: Vec<u8>,
    upgraded: bool,
}

fn main() -> ExitCode {
    let run = || -> Result<(), String> {
        let settings = Settings::from_env()?;
        let mut floor = Floor::listen(settings.port).map_err(|error| error.to_string())?;
        floor.run(&settings).map_err(|error| error.to_string())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Floor {
    fn listen(port: u16) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        net::listen(&listener, 4096)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let (clients, rooms) = (HashMap::new(), HashMap::new());
        Ok(Self { epoll, listener, clients, rooms, next: 0, joins: 0, dropped: 0 })
    }

    fn run(&mut self, settings: &Settings) -> Result<(), Errno> {
        let (mut start, mut schedule) = (Instant::now(), None::<Schedule>);
        let mut begun = false;
        let mut events = Vec::with_capacity(1024);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let wait = match &schedule {
                Some(schedule) => schedule.next().saturating_sub(start.elapsed()),
                None => Duration::from_secs(1),
            };
            let wait =
                Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))
            {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            for event in &events {
                let data = event.data;
                match data.u64() {
                    LISTENER => self.accept(),
                    client => self.read(client, &mut buffer),
                }
            }
            if !begun && self.joins >= settings.joins {
                begun = true;
                (start, schedule) = (Instant::now(), Schedule::new(settings));
            }
            while let Some(room) = schedule.as_mut().and_then(|due| due.due(start.elapsed())) {
                self.publish(room, &settings.news());
            }
        }
    }

    fn accept(&mut self) {
        // Some at a time, so that a storm does not hold up the events.
        for _ in 0..64 {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let Ok(fd) = net::accept_with(&self.listener, flags) else { return };
            let (token, events) = (EventData::new_u64(self.next), EventFlags::IN);
            if sockopt::set_tcp_nodelay(&fd, true).is_ok()
                && epoll::add(&self.epoll, &fd, token, events).is_ok()
            {
                self.clients.insert(self.next, Client { fd, held: Vec::new(), upgraded: false });
                self.next += 1;
            }
        }
    }

    fn read(&mut self, number: u64, buffer: &mut [u8]) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let count = match net::recv(&client.fd, &mut *buffer, RecvFlags::empty()) {
            Ok((count, _)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => 0,
        };
        client.held.extend_from_slice(&buffer[..count]);
        let mut heard = Vec::new();
        if count == 0 || speak::hear(&mut client.held, &mut client.upgraded, &mut heard).is_none() {
            self.remove(number);
            return;
        }
        if client.held.is_empty() {
            client.held = Vec::new();
        }
        for heard in heard {
            let answer = match heard {
                Heard::Say(answer) => answer,
                Heard::Join(room, answer) => {
                    self.joins += 1;
                    self.rooms.entry(room).or_default().push(number);
                    answer
                }
            };
            // A new socket has room for it.
            let _ = net::send(&client.fd, &answer, SendFlags::NOSIGNAL);
        }
    }

    fn publish(&mut self, room: u64, news: &str) {
        let frame = speak::frame(&format!("42[\"news\",{news}]"));
        let Some(members) = self.rooms.get(&format!("room-{room}")) else { return };
        let mut gone = Vec::new();
        for number in members {
            let Some(client) = self.clients.get(number) else { continue };
            match net::send(&client.fd, &frame, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == frame.len() => {}
                Err(Errno::AGAIN | Errno::INTR) => self.dropped += 1,
                // Half a frame cannot be mended.
                Ok(_) | Err(_) => gone.push(*number),
            }
        }
        for number in gone {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        if self.clients.remove(&number).is_some() {
            for members in self.rooms.values_mut() {
                members.retain(|member| *member != number);
            }
        }
    }
}
