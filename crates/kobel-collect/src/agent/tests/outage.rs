//! A machine that is read each second and whose hub is away for a while: what the hub has then.

use super::*;
use crate::edge::Edge;

const DAY_MS: i64 = 86_400_000;

/// An agent's rules and a hub's, a second at a time; the clocks of both, and a network that can be
/// pulled.
struct Bed {
    hub: Hub,
    client: Client,
    edge: Edge,
    /// `None` while the network is pulled.
    session: Option<Session>,
    second: i64,
    /// How far the agent's clock is off.
    off_ms: i64,
    /// The spans of the summaries that the hub has, in seconds of the true time, as they came.
    heard: Vec<(i64, i64)>,
    /// When the newest sample was read, by the hub's idea.
    newest: Option<i64>,
}

impl Bed {
    fn new(off_ms: i64) -> Self {
        let target = Target { device: DeviceUuid::NIL, id: DeviceId(0) };
        let mut bed = Self {
            hub: Hub::new(),
            client: Client::new(hello(), vec![claim(1)]),
            edge: Edge::new(target, Duration::ZERO),
            session: None,
            second: 0,
            off_ms,
            heard: Vec::new(),
            newest: None,
        };
        bed.connect();
        bed
    }

    fn connect(&mut self) {
        self.client.connected();
        self.session = Some(self.hub.session());
    }

    fn pull(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.end("lost", Instant::now());
        }
    }

    async fn seconds(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.tick().await;
        }
    }

    async fn tick(&mut self) {
        tokio::time::advance(Duration::from_secs(1)).await;
        self.second += 1;
        let now = Instant::now();
        let hub_wall = Timestamp::from_millis(NOW + self.second * 1_000);
        let wall = Timestamp::from_millis(hub_wall.as_millis() + self.off_ms);
        self.client.clock(wall, 50_000 + self.second * 1_000);
        let sample =
            Sample { cpu: Some(12.0), ..Sample::empty(DeviceUuid::NIL, DeviceId(0), wall) };
        let shaped = self.edge.sample(sample, now);
        if let Some(summary) = &shaped.summary {
            self.client.outbox.summary(0, summary, now);
        }
        if let Some(sample) = shaped.sample {
            self.client.outbox.sample(0, sample);
        }
        let Some(session) = &mut self.session else { return };
        while let Some(message) = self.client.next(wall, now) {
            if let Some(answer) = take_at(session, &message, hub_wall).unwrap() {
                self.client.receive(&answer.encode_to_vec()).unwrap();
            }
        }
        let second_of = |at: Timestamp| (at.as_millis() - NOW).div_euclid(1_000);
        if let Some(update) = self.hub.taken().await.remove(&uuid(1)) {
            let spans = update.summaries.iter().map(|s| (second_of(s.from), second_of(s.to)));
            self.heard.extend(spans);
            self.newest = update.sample.map(|s| second_of(s.sampled_at)).or(self.newest);
        }
    }

    fn shed(&self) -> u64 {
        self.hub.stats.snapshot(0).shed
    }

    /// That each summary goes on where the one before it ended.
    fn assert_whole(&self) {
        for pair in self.heard.windows(2) {
            assert_eq!(pair[1].0, pair[0].1 + 1, "{:?}", self.heard);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_minutes_without_a_network_cost_nothing() {
    // Whatever the agent's clock says.
    for off_ms in [0, -DAY_MS, DAY_MS, 40 * 365 * DAY_MS] {
        let mut bed = Bed::new(off_ms);
        bed.seconds(100).await;
        bed.pull();
        bed.seconds(600).await;
        assert!(bed.heard.last().unwrap().1 < 100);
        bed.connect();
        bed.tick().await;
        let waiting = bed.client.outbox.waiting();
        bed.seconds(60).await;
        bed.assert_whole();
        let (first, last) = (bed.heard[0], *bed.heard.last().unwrap());
        assert!(first.0 == 1 && last.1 > 720, "{:?}", bed.heard);
        assert_eq!((waiting, bed.shed()), (0, 0), "with the first message all of it came");
        assert!(bed.newest.unwrap() >= last.1);
    }
}

#[tokio::test(start_paused = true)]
async fn of_more_than_an_hour_the_oldest_goes_and_is_told() {
    let mut bed = Bed::new(0);
    bed.seconds(100).await;
    bed.pull();
    bed.seconds(3_600 + 900).await;
    let waiting = bed.client.outbox.waiting();
    assert!((118..=121).contains(&waiting), "an hour of half minutes: {waiting}");
    let heard = bed.heard.len();
    bed.connect();
    bed.tick().await;
    let late = &bed.heard[heard..];
    let oldest = bed.second - 3_600;
    assert!((oldest - 30..=oldest + 30).contains(&late[0].1), "{late:?} of {oldest}");
    assert!((118..=121).contains(&late.len()));
    let shed = bed.client.outbox.passed().shed;
    assert!((29..=32).contains(&shed), "{shed}");
    assert_eq!(bed.shed(), shed, "the hub knows");

    // Each of them once, however often the agent connects.
    bed.pull();
    bed.seconds(60).await;
    bed.connect();
    bed.seconds(60).await;
    assert_eq!(bed.shed(), shed);
    bed.heard.drain(..heard);
    bed.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_starts_again_gets_what_it_did_not_acknowledge() {
    let mut bed = Bed::new(-DAY_MS);
    bed.seconds(100).await;
    bed.pull();
    bed.seconds(200).await;
    // It has forgotten the run, and how far that was.
    bed.hub = Hub::new();
    bed.connect();
    bed.seconds(60).await;
    bed.assert_whole();
    assert!(bed.heard.last().unwrap().1 > 310);
}

/// A host without a battery for its clock: it boots without a network, and with the network comes
/// the right time.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_while_reports_wait_puts_them_right_too() {
    for (before, after) in [(-DAY_MS, 0), (3 * DAY_MS, 0), (0, -DAY_MS), (-DAY_MS, DAY_MS)] {
        let mut bed = Bed::new(before);
        bed.seconds(100).await;
        bed.pull();
        bed.seconds(305).await;
        bed.off_ms = after;
        bed.seconds(35).await;
        bed.connect();
        bed.seconds(65).await;
        let steps: Vec<_> = bed.heard.windows(2).map(|w| w[1].0 - w[0].1).collect();
        // The half minute in which it was set is lost in part, and nothing else.
        let gaps = steps.iter().filter(|step| **step != 1).collect::<Vec<_>>();
        assert!(gaps.len() <= 1 && gaps.iter().all(|g| (1..=30).contains(*g)), "{:?}", bed.heard);
        assert!(bed.heard[0].0 == 1 && bed.heard.last().unwrap().1 > 470, "{:?}", bed.heard);
    }
}
