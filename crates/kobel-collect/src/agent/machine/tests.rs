use kobel_wire::{
    Facts,
    proto::{AgentMessage, Reports, agent_message, numbered_report::Body},
};
use prost::Message;

use super::*;

fn container(number: u8, state: ContainerState, cpu: f64) -> Container {
    Container {
        device_uuid: SELF.device,
        container_id: hex(number).parse().unwrap(),
        name: format!("web-{number}"),
        image: "nginx".into(),
        project: None,
        service: None,
        state,
        status: format!("Up {cpu} seconds"),
        health: None,
        exit_code: None,
        created_at: None,
        started_at: None,
        restart_count: None,
        logs: None,
        cpu: Some(cpu),
        memory: None,
        memory_limit: None,
        network_in: None,
        network_out: None,
        block_read: None,
        block_write: None,
        pids: None,
    }
}

fn hex(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

fn feed() -> (ingest::Ingest, MachineFeed) {
    let (ingest, inbox) = ingest::channel();
    let claim = Claim {
        key: KEY.into(),
        name: "web".into(),
        tags: Vec::new(),
        facts: Facts { hostname: "web".into(), ..local::facts() },
        engine: Engine::unknown(Timestamp::from_millis(0)),
    };
    (ingest, MachineFeed::new(claim, inbox, Demand::default(), None))
}

async fn pass(feed: &mut MachineFeed, outbox: &mut Outbox) -> Reports {
    feed.ready().await;
    feed.fill(outbox, Timestamp::from_millis(0), Instant::now());
    sent(outbox)
}

fn sent(outbox: &mut Outbox) -> Reports {
    let Some(bytes) = outbox.next(Timestamp::from_millis(0), Instant::now()) else {
        return Reports::default();
    };
    match AgentMessage::decode(&bytes[..]).unwrap().body {
        Some(agent_message::Body::Reports(reports)) => reports,
        other => panic!("{other:?}"),
    }
}

fn sample() -> Sample {
    Sample::empty(SELF.device, SELF.id, Timestamp::from_millis(0))
}

#[tokio::test]
async fn a_change_goes_at_once_and_figures_go_with_the_sample() {
    let (ingest, mut feed) = feed();
    let mut outbox = Outbox::default();
    ingest.inventory(SELF.device, vec![container(1, ContainerState::Running, 1.0)]);
    let reports = pass(&mut feed, &mut outbox).await;
    assert!(
        matches!(&reports.numbered[0].body, Some(Body::Inventory(all)) if all.containers.len() == 1)
    );
    // What is only newer figures waits for the sample that somebody needs.
    ingest.container(container(1, ContainerState::Running, 2.0));
    assert_eq!(pass(&mut feed, &mut outbox).await, Reports::default());
    ingest.sample(sample());
    let reports = pass(&mut feed, &mut outbox).await;
    assert_eq!((reports.samples.len(), reports.figures.len()), (1, 1));
    assert_eq!(reports.figures[0].cpu, Some(2.0));
    // A change does not, and is not lost.
    ingest.container(container(1, ContainerState::Exited, 2.0));
    let reports = pass(&mut feed, &mut outbox).await;
    assert!(matches!(&reports.numbered[..], [one] if matches!(one.body, Some(Body::Container(_)))));
    // Nor is a last word, which leaves nothing behind.
    ingest.container(container(1, ContainerState::Removed, 2.0));
    assert_eq!(pass(&mut feed, &mut outbox).await.numbered.len(), 1);
    assert!(feed.containers.unwrap().is_empty());
}

#[tokio::test]
async fn a_hub_that_started_again_hears_everything() {
    let (ingest, mut feed) = feed();
    let mut outbox = Outbox::default();
    let engine =
        Engine { state: EngineState::Connected, ..Engine::unknown(Timestamp::from_millis(0)) };
    ingest.engine(SELF.device, engine);
    ingest.sample(sample());
    ingest.inventory(SELF.device, vec![container(1, ContainerState::Running, 1.0)]);
    pass(&mut feed, &mut outbox).await;
    let now = Instant::now();
    feed.event(Event::NobodyWatches, &mut outbox, Timestamp::from_millis(0), now);
    assert_eq!(feed.demand.changed().await, [(SELF.device, Need::Unwatched)]);
    feed.event(Event::Inventory(INDEX), &mut outbox, Timestamp::from_millis(0), now);
    let reports = sent(&mut outbox);
    assert_eq!(
        (reports.engines.len(), reports.facts.len(), reports.samples.len()),
        (1, 1, 1),
        "{reports:?}"
    );
    assert!(matches!(
        &reports.numbered.last().unwrap().body,
        Some(Body::Inventory(all)) if all.containers.len() == 1
    ));
}

#[tokio::test]
async fn what_the_hub_does_not_take_is_not_sent_and_stays_bounded() {
    let (ingest, mut feed) = feed();
    let mut outbox = Outbox::default();
    let now = Instant::now();
    feed.event(Event::Released(INDEX, "other".into()), &mut outbox, Timestamp::from_millis(0), now);
    for cpu in 0..100 {
        ingest.sample(sample());
        ingest.container(container(cpu, ContainerState::Running, 1.0));
        assert_eq!(pass(&mut feed, &mut outbox).await, Reports::default());
    }
    feed.event(
        Event::Need(INDEX, Need::of_seconds(1)),
        &mut outbox,
        Timestamp::from_millis(0),
        now,
    );
    assert_eq!(feed.demand.changed().await, [(SELF.device, Need::of_seconds(1))]);
}
