//! Nodes around a real Redis: who owns what, and what crosses.

#![allow(clippy::unwrap_used, reason = "a test that fails so says where")]

mod support;

use std::time::Duration;

use kobel_hub::{cluster::Lease, demand::Demand};
use kobel_wire::{Container, DeviceId, DeviceState, Sample, Timestamp};
use support::{Node, Redis, device, eventually};
use tokio::time::{Instant, sleep};

const DEVICES: u128 = 60;

/// Each device has one owner at most among these; how many have one.
fn owned_once(nodes: &[&Node]) -> usize {
    let owners = |n| nodes.iter().filter(|node| node.owns(n)).count();
    let counts: Vec<_> = (0..DEVICES).map(owners).collect();
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
    counts.iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_move_with_the_nodes() {
    let redis = Redis::start().await;
    let a = Node::start(&redis.url());
    a.devices(DEVICES).await;
    eventually("the only node owns all", || a.owned() == DEVICES as usize).await;

    let b = Node::start(&redis.url());
    b.devices(DEVICES).await;
    // Nobody runs sources here: each that is to end has ended.
    let end = |node: &Node| {
        let (steward, mut owned) = (node.cluster.steward().clone(), node.cluster.steward().owned());
        tokio::spawn(async move {
            while owned.changed().await.is_ok() {
                for n in 0..DEVICES {
                    if !owned.borrow().contains_key(&device(n)) {
                        steward.ended(device(n)).await;
                    }
                }
            }
        })
    };
    let (end_a, end_b) = (end(&a), end(&b));
    eventually("they share", || {
        owned_once(&[&a, &b]) == DEVICES as usize && b.owned() > 10 && a.owned() > 10
    })
    .await;
    assert_eq!(a.cluster.members().list().len(), 2);

    // A drain moves all, at once.
    let drained = Instant::now();
    b.cluster.steward().drain().await;
    eventually("the other has them", || a.owned() == DEVICES as usize).await;
    println!("drained in {:?}", drained.elapsed());
    assert_eq!(owned_once(&[&a, &b]), DEVICES as usize);
    b.stop().await;

    // One that dies without a word is missed when its lease ends.
    let c = Node::start(&redis.url());
    c.devices(DEVICES).await;
    let end_c = end(&c);
    eventually("they share", || owned_once(&[&a, &c]) == DEVICES as usize && c.owned() > 10).await;
    let died = Instant::now();
    a.kill();
    eventually("the other has them", || c.owned() == DEVICES as usize).await;
    println!("taken over after {:?}", died.elapsed());
    for task in [end_a, end_b, end_c] {
        task.abort();
    }
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_owns_nothing_and_comes_back() {
    let mut redis = Redis::start().await;
    let a = Node::start(&redis.url());
    a.devices(3).await;
    eventually("it owns all", || a.owned() == 3).await;

    // As behind a cut wire.
    redis.signal("-STOP");
    eventually("it owns nothing", || a.owned() == 0).await;
    assert_eq!(*a.cluster.members().lease().borrow(), Lease::Lost);
    redis.signal("-CONT");
    eventually("it owns all again", || a.owned() == 3).await;

    // Redis comes back without a memory.
    redis.kill();
    eventually("it owns nothing", || a.owned() == 0).await;
    redis.up().await;
    eventually("it owns all again", || a.owned() == 3).await;
    a.stop().await;
}

fn container(n: u128, id: char, state: &str) -> Container {
    serde_json::from_value(serde_json::json!({
        "deviceUuid": device(n), "containerId": id.to_string().repeat(64), "name": id.to_string(),
        "image": "x", "state": state, "status": "",
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_takes_in_is_known_everywhere() {
    let redis = Redis::start().await;
    let a = Node::start(&redis.url());
    a.devices(1).await;
    eventually("it owns it", || a.owns(0)).await;
    let demand = Demand::default();
    a.knows(0, &demand).await;
    a.ingest.state(device(0), DeviceState::Online, None);
    a.ingest.inventory(device(0), vec![container(0, 'a', "running")]);
    let sample = |at| Sample::empty(device(0), DeviceId(1), Timestamp::from_millis(at));
    a.ingest.sample(sample(1_000));
    eventually("its hub has it", || a.hub.stats().containers == 1).await;

    // A node that comes later reads what was.
    let b = Node::start(&redis.url());
    b.follows(0).await;
    b.devices(0).await;
    eventually("the other knows", || b.hub.stats().containers == 1).await;
    assert_eq!(b.state_of(0).await, DeviceState::Online);

    // A change crosses at once, whoever looks.
    a.ingest.container(container(0, 'b', "running"));
    eventually("the other knows", || b.hub.stats().containers == 2).await;

    // After Redis was away, nothing is missing.
    let mut redis = redis;
    redis.kill();
    a.ingest.container(container(0, 'a', "removed"));
    sleep(Duration::from_millis(200)).await;
    redis.up().await;
    eventually("it owns it again", || a.owns(0)).await;
    a.ingest.sample(sample(2_000));
    eventually("the other knows", || b.hub.stats().containers == 1).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_a_device_writes_nothing_of_it() {
    let redis = Redis::start().await;
    let (a, b) = (Node::start(&redis.url()), Node::start(&redis.url()));
    a.cluster.steward().link(vec![device(0)]).await;
    a.devices(0).await;
    eventually("it owns it", || a.owns(0)).await;
    let demand = Demand::default();
    a.knows(0, &demand).await;
    a.ingest.inventory(device(0), vec![container(0, 'a', "running")]);
    b.follows(0).await;
    eventually("the other knows", || b.hub.stats().containers == 1).await;

    // Somebody else is written down, and it has not heard of that: as after a pause.
    redis.owns(0, "another", u64::MAX >> 1);
    a.ingest.container(container(0, 'b', "running"));
    eventually("it hears of it when it writes", || !a.owns(0)).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(b.hub.stats().containers, 1, "what it wrote then is nowhere");

    // Its agent has come to another node.
    let c = Node::start(&redis.url());
    eventually("it is in", || c.cluster.members().list().len() == 3).await;
    c.cluster.steward().link(vec![device(0)]).await;
    assert!(c.owns(0));
    let demand = Demand::default();
    c.knows(0, &demand).await;
    c.ingest.inventory(device(0), vec![container(0, 'c', "running"), container(0, 'd', "running")]);
    eventually("the other has the new owner's word", || b.hub.stats().containers == 2).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}
