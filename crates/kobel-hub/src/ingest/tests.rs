use std::collections::HashMap;

use kobel_wire::{ContainerState, DeviceId, Timestamp};
use proptest::prelude::*;

use super::*;

fn device(n: u8) -> DeviceUuid {
    format!("0198c0de-0000-7000-8000-0000000000{n:02x}").parse().unwrap()
}

fn sample(n: u8, at: i64) -> Sample {
    Sample::empty(device(n), DeviceId(n.into()), Timestamp::from_millis(at))
}

fn container(n: u8, id: u8, restarts: u64) -> Container {
    let container_id: ContainerId = format!("{id:064x}").parse().unwrap();
    Container {
        device_uuid: device(n),
        container_id,
        name: format!("c{id}"),
        image: "busybox".into(),
        project: None,
        service: None,
        state: ContainerState::Running,
        status: String::new(),
        health: None,
        exit_code: None,
        created_at: None,
        started_at: None,
        restart_count: Some(restarts),
        logs: None,
        cpu: None,
        memory: None,
        memory_limit: None,
        network_in: None,
        network_out: None,
        block_read: None,
        block_write: None,
        pids: None,
    }
}

#[tokio::test]
async fn a_newer_sample_replaces_one_that_waits() {
    let (ingest, inbox) = channel();
    ingest.sample(sample(1, 1));
    ingest.sample(sample(1, 2));
    ingest.sample(sample(2, 3));
    let taken = inbox.take().await;
    assert_eq!(taken[&device(1)].sample.as_ref().unwrap().sampled_at.as_millis(), 2);
    assert_eq!(taken[&device(2)].sample.as_ref().unwrap().sampled_at.as_millis(), 3);
    assert_eq!(ingest.replaced(), Replaced { samples: 1, containers: 0 });
}

#[tokio::test]
async fn an_inventory_forgets_the_changes_before_it() {
    let (ingest, inbox) = channel();
    ingest.container(container(1, 1, 1));
    ingest.inventory(device(1), vec![container(1, 2, 0)]);
    ingest.container(container(1, 1, 7));
    let taken = inbox.take().await.remove(&device(1)).unwrap();
    assert_eq!(taken.inventory.unwrap().len(), 1);
    assert_eq!(taken.containers, [container(1, 1, 7)]);
}

proptest! {
    /// Whatever the order of reports and takes, the last word on each container arrives and
    /// nothing waits twice.
    #[test]
    fn the_last_word_on_each_container_arrives(
        steps in prop::collection::vec((0u8..3, 0u8..4, 0u64..100, prop::bool::weighted(0.2)), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ingest, inbox) = channel();
            let mut expected = HashMap::new();
            let mut seen = HashMap::new();
            let mut collect = |taken: HashMap<DeviceUuid, DeviceUpdate>| {
                for (device, update) in taken {
                    let mut ids: Vec<_> =
                        update.containers.iter().map(|c| c.container_id.clone()).collect();
                    ids.sort();
                    ids.dedup();
                    assert_eq!(ids.len(), update.containers.len());
                    for c in update.containers {
                        seen.insert((device, c.container_id.clone()), c);
                    }
                }
            };
            for (n, id, restarts, take) in steps {
                let change = container(n, id, restarts);
                expected.insert((device(n), change.container_id.clone()), change.clone());
                ingest.container(change);
                if take {
                    collect(inbox.take().await);
                }
            }
            ingest.sample(sample(9, 0));
            collect(inbox.take().await);
            assert_eq!(seen, expected);
        });
    }
}
