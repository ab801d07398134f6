//! The hub's task: one loop that owns the live state.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kobel_fanout::{DisconnectReason, Server};
use kobel_wire::{Device, DeviceId, DeviceUuid, Timestamp, system::System};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, CredentialId},
    cluster::Owned,
    demand::Demand,
    gate::{self, Authenticate, Gate, Request, Requests, ToHub},
    ingest::{DeviceUpdate, Inbox, Ingest},
    live::{ByScope, Command, DeviceLabel, Live, LiveStats},
    logs::live::{Keeper, LogRequests},
};

/// How often devices are judged by the age of their samples, and credentials by their end.
const TICK: Duration = Duration::from_millis(500);

/// How many requests are handled before reports get their turn.
const REQUESTS_AT_ONCE: usize = 64;

/// The hub before it runs. Made first, since the fan-out needs its gate and it needs the fan-out.
pub struct Hub {
    live: Live,
    requests: Requests,
    to_hub: ToHub,
    stats: watch::Sender<LiveStats>,
    own: watch::Sender<Option<System>>,
    keeper: Keeper,
    tap: Option<Tap>,
}

/// What else is told of what the hub takes in: the other nodes of a cluster, of the devices that this
/// one owns. Never waits: what is not taken yet is replaced by what is newer.
pub struct Tap {
    to: Ingest,
    owned: watch::Receiver<Arc<Owned>>,
}

impl Tap {
    /// Tells `to` of the devices that are owned.
    pub fn new(to: Ingest, owned: watch::Receiver<Arc<Owned>>) -> Self {
        Self { to, owned }
    }

    fn tell(&self, device: DeviceUuid, update: &DeviceUpdate) {
        if self.owned.borrow().contains_key(&device) {
            self.to.again(device, update);
        }
    }
}

/// A way to the running hub.
#[derive(Clone)]
pub struct HubHandle {
    to_hub: ToHub,
    stats: watch::Receiver<LiveStats>,
    own: watch::Sender<Option<System>>,
}

impl Hub {
    /// A hub that knows nothing yet. `epoch` names this run; `max_subscriptions` is the most rooms
    /// that one socket may be in.
    pub fn new(epoch: &str, max_subscriptions: usize) -> Self {
        let (to_hub, requests) = gate::queues();
        let live = Live::new(epoch, max_subscriptions, Box::new(ByScope));
        let stats = watch::Sender::new(LiveStats::default());
        // A place for one: while the hub is busy, newer figures replace those that wait.
        let own = watch::Sender::new(None);
        let keeper = Keeper::new(Timestamp::now());
        Self { live, requests, to_hub, stats, own, keeper, tap: None }
    }

    /// Adds a device; what is needed of it is told by `demand`.
    pub fn add_device(&mut self, device: Device, demand: &Demand) {
        self.keeper.device(&device);
        self.live.add_device(device, demand.clone(), Instant::now(), Timestamp::now());
    }

    /// Tells `tap` too of what it takes in.
    pub fn tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    /// The handler to start the fan-out with.
    pub fn gate<A: Authenticate>(
        &self,
        authenticator: Arc<A>,
        cancel: CancellationToken,
    ) -> Gate<A> {
        Gate::new(authenticator, self.to_hub.clone(), cancel)
    }

    /// A way to the hub once it runs.
    pub fn handle(&self) -> HubHandle {
        let (to_hub, stats) = (self.to_hub.clone(), self.stats.subscribe());
        HubHandle { to_hub, stats, own: self.own.clone() }
    }

    /// Runs until cancelled.
    ///
    /// When the fan-out's queue is full the loop waits for it. Sources do not: what they report
    /// meanwhile collapses in the inbox to the newest.
    pub async fn run(
        mut self,
        inbox: Inbox,
        server: Server,
        logs: LogRequests,
        cancel: CancellationToken,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(REQUESTS_AT_ONCE);
        let gone = Arc::clone(&self.requests.gone);
        let mut own = self.own.subscribe();
        let mut volumes = logs.volumes();
        loop {
            let flush_at = self.live.flush_at();
            tokio::select! {
                () = cancel.cancelled() => return,
                reports = inbox.take() => {
                    let (now, wall) = (Instant::now(), Timestamp::now());
                    for (device, update) in reports {
                        if let Some(tap) = &self.tap {
                            tap.tell(device, &update);
                        }
                        for request in self.keeper.report(device, &update) {
                            logs.send(request).await;
                        }
                        self.live.report(device, update, now, wall);
                    }
                }
                _ = self.requests.queue.recv_many(&mut batch, REQUESTS_AT_ONCE) => {}
                () = gone.ready.notified() => {
                    // Whoever is gone was announced in the queue before: read that first.
                    let sockets = gone.take();
                    while let Ok(request) = self.requests.queue.try_recv() {
                        self.request(request);
                    }
                    for socket in sockets {
                        self.live.disconnected(socket);
                    }
                }
                () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => {
                    self.live.flush(Instant::now(), Timestamp::now());
                }
                Ok(()) = own.changed() => {
                    let figures = own.borrow_and_update().clone();
                    if let Some(figures) = figures {
                        self.live.system(figures, Instant::now(), Timestamp::now());
                    }
                }
                Ok(()) = volumes.changed() => {
                    let volumes = volumes.borrow_and_update().clone();
                    self.live.log_volumes(&volumes, Instant::now(), Timestamp::now());
                }
                _ = tick.tick() => self.live.tick(Instant::now(), Timestamp::now()),
            }
            for request in batch.drain(..) {
                self.request(request);
            }
            self.live.settle(Instant::now());
            for command in self.live.take_commands() {
                carry_out(&server, &logs, command).await;
            }
            self.stats.send_replace(self.live.stats());
        }
    }

    fn request(&mut self, request: Request) {
        let (now, wall) = (Instant::now(), Timestamp::now());
        match request {
            Request::Connected { socket, principal } => {
                self.live.connected(socket, principal, now);
            }
            Request::Subscribe { socket, asked, ack } => {
                self.live.subscribe(socket, &asked, ack, now, wall);
            }
            Request::Unsubscribe { socket, room, ack } => {
                self.live.unsubscribe(socket, &room, ack, now, wall);
            }
            Request::Activity { socket, visible, ack } => {
                self.live.activity(socket, visible, ack, now, wall);
            }
            Request::Refused { socket, refusal, ack } => {
                self.live.wake(socket, now, wall);
                self.live.refuse(socket, ack, &refusal);
            }
            Request::AddDevices { devices, demand, done } => {
                for device in devices {
                    self.keeper.device(&device);
                    self.live.add_device(device, demand.clone(), now, wall);
                }
                // The asker may have gone; the devices stay, unreachable.
                let _ = done.send(());
            }
            Request::LabelDevice { device, label } => {
                self.keeper.rename(device, &label.name);
                self.live.label_device(device, &label, now, wall);
            }
            Request::RemoveDevice { device } => {
                for request in self.keeper.remove(device) {
                    self.live.tell_logs(request);
                }
                self.live.remove_device(device, now, wall);
            }
            Request::Redirect { devices, demand, unknown } => {
                let _ = unknown.send(self.live.redirect(devices, &demand, now));
            }
            Request::OthersNeed { devices } => self.live.others_need(&devices),
            Request::Devices { answer } => {
                // The asker may have gone; then nobody needs the answer.
                let _ = answer.send(self.live.devices());
            }
            Request::Revoke { credential } => self.live.revoke(credential),
            Request::Credentials { answer } => {
                // The asker may have gone; then nobody needs the answer.
                let _ = answer.send(self.live.credentials());
            }
        }
    }
}

async fn carry_out(server: &Server, logs: &LogRequests, command: Command) {
    match command {
        Command::Logs(request) => logs.send(*request).await,
        Command::Publish { room, frame } => server.publish(&room, frame).await,
        Command::Emit { socket, frame } => server.emit(socket, frame).await,
        Command::Ack { socket, ack, answer } => server.ack(socket, ack, &answer).await,
        Command::Join { socket, room } => server.join(socket, room).await,
        Command::Leave { socket, room } => server.leave(socket, &room).await,
        Command::Disconnect { socket } => {
            server.disconnect(socket, DisconnectReason::Server).await;
        }
    }
}

impl HubHandle {
    /// Adds devices while the hub runs; what is needed of them is told by `demand`. One that is known
    /// keeps its history and its viewers, and is told of by the new demand from now on.
    pub async fn add_devices(&self, devices: Vec<Device>, demand: &Demand) {
        let (done, added) = oneshot::channel();
        let demand = demand.clone();
        let _ = self.to_hub.queue.send(Request::AddDevices { devices, demand, done }).await;
        // A hub that has ended has no devices either.
        let _ = added.await;
    }

    /// A device is called or sorted otherwise from now on.
    pub async fn label_device(&self, device: DeviceUuid, label: DeviceLabel) {
        // A hub that has ended has no devices either.
        let _ = self.to_hub.queue.send(Request::LabelDevice { device, label }).await;
    }

    /// Takes a device out; who watches it is told. End its source first: what that still reports
    /// is ignored.
    pub async fn remove_device(&self, device: DeviceUuid) {
        // A hub that has ended has no devices either.
        let _ = self.to_hub.queue.send(Request::RemoveDevice { device }).await;
    }

    /// Another source tells of these from now on, and `demand` is told what is needed of them; what is
    /// known of them stands until it does. Gives those that are not known.
    pub async fn redirect(&self, devices: Vec<DeviceUuid>, demand: &Demand) -> Vec<DeviceUuid> {
        let (unknown, answer) = oneshot::channel();
        let demand = demand.clone();
        let _ = self.to_hub.queue.send(Request::Redirect { devices, demand, unknown }).await;
        // A hub that has ended has no devices either.
        answer.await.unwrap_or_default()
    }

    /// What other nodes need of the devices, by seconds; of those that are not named they need
    /// nothing more than each 30 s.
    pub async fn others_need(&self, devices: HashMap<DeviceId, u8>) {
        // A hub that has ended has no devices either.
        let _ = self.to_hub.queue.send(Request::OthersNeed { devices }).await;
    }

    /// Every device as it is known now.
    pub async fn devices(&self) -> Vec<Device> {
        let (answer, devices) = oneshot::channel();
        let _ = self.to_hub.queue.send(Request::Devices { answer }).await;
        devices.await.unwrap_or_default()
    }

    /// Closes every socket that signed in by this credential.
    pub async fn revoke(&self, credential: CredentialId) {
        // A hub that has ended has no sockets either.
        let _ = self.to_hub.queue.send(Request::Revoke { credential }).await;
    }

    /// The credentials by which somebody is signed in now, with the access that each gave: each
    /// pair once.
    pub async fn credentials(&self) -> Vec<(CredentialId, Arc<Access>)> {
        let (answer, credentials) = oneshot::channel();
        let _ = self.to_hub.queue.send(Request::Credentials { answer }).await;
        credentials.await.unwrap_or_default()
    }

    /// Gives the hub its own figures, to be told in the room `system:main`. Never waits: figures that
    /// the hub has not taken yet are replaced.
    pub fn tell_system(&self, figures: System) {
        self.own.send_replace(Some(figures));
    }

    /// Figures for metrics, as of the hub's last step.
    pub fn stats(&self) -> LiveStats {
        *self.stats.borrow()
    }
}
