//! Hosts that do not keep to the rules.

use std::sync::Arc;

use kobel_collect::ssh::{Docker, Hop, HostKeys, SignIn, SshSpec};
use kobel_wire::DeviceState;

use crate::{
    host::{Behaviour, Recorded, listen},
    source::Watched,
    sshd::Sshd,
};

/// A host of this behaviour, by the key of a folder.
async fn host(behaviour: Behaviour, recorded: &Arc<Recorded>, keys: &Sshd) -> SshSpec {
    let port = listen(behaviour, Arc::clone(recorded)).await;
    SshSpec {
        host: Hop { host: "127.0.0.1".into(), port, user: "anybody".into() },
        jumps: Vec::new(),
        sign_in: vec![SignIn::Key { key: keys.key("id"), passphrase: None, name: "a key".into() }],
        host_keys: HostKeys { pinned: Vec::new(), accept_new: true },
        docker: Docker::Off,
    }
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_keep_to_the_rules_is_bounded_and_said() {
    let (keys, recorded) = (Sshd::start(""), Arc::new(Recorded::default()));
    let mut good = Watched::start(host(Behaviour::Good, &recorded, &keys).await);
    good.samples(2).await;
    let before = resident();
    for (behaviour, words) in [
        (Behaviour::Endless, "nobody asked for"),
        (Behaviour::EndlessAnswer, "longer than 2 MB"),
        (Behaviour::WrongSeq, "something else"),
    ] {
        let mut bad = Watched::start(host(behaviour, &recorded, &keys).await);
        let reason = bad.state(DeviceState::Unreachable).await;
        assert!(reason.contains(words), "{behaviour:?}: {reason}");
        bad.end().await;
    }
    // The line is cut, and the rest is there.
    let mut huge = Watched::start(host(Behaviour::HugeLine, &recorded, &keys).await);
    huge.until("a sample", |w| w.samples.iter().any(|s| s.memory.is_some())).await;
    huge.end().await;
    // The fixture's own memory is in it, too: its huge line once or twice.
    let grown = resident().saturating_sub(before);
    assert!(grown < 300 << 20, "{} MB", grown >> 20);
    good.samples(2).await;
    good.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_says_disturbs_nobody() {
    let (keys, recorded) = (Sshd::start(""), Arc::new(Recorded::default()));
    let mut liar = Watched::start(host(Behaviour::Lies, &recorded, &keys).await);
    liar.samples(2).await;
    liar.until("facts", |w| w.facts.is_some()).await;
    let told = format!("{:?}{:?}", liar.facts, liar.samples);
    assert!(
        !told.contains('\x1b') && !told.contains("\\u{1b}") && !told.contains("\\u{7}"),
        "{told}"
    );
    for sample in &liar.samples {
        for share in [sample.cpu, sample.memory, sample.swap, sample.disk].into_iter().flatten() {
            assert!((0.0..=100.0).contains(&share), "{share}");
        }
    }
    liar.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_hang_or_are_dead_cost_the_others_nothing() {
    let (keys, recorded) = (Sshd::start(""), Arc::new(Recorded::default()));
    let hung = Watched::start(host(Behaviour::Hangs, &recorded, &keys).await);
    let mut dead = Vec::new();
    for _ in 0..5 {
        let mut spec = host(Behaviour::Good, &recorded, &keys).await;
        // Nobody listens there.
        spec.host.port = 1;
        dead.push(Watched::start(spec));
    }
    let mut good = Vec::new();
    for _ in 0..4 {
        good.push(Watched::start(host(Behaviour::Good, &recorded, &keys).await));
    }
    for watched in &mut good {
        watched.samples(4).await;
        for pair in watched.samples[1..].windows(2) {
            let apart = pair[1].sampled_at.as_millis() - pair[0].sampled_at.as_millis();
            // What waits while nobody takes it is replaced by the newest: whole seconds.
            assert!(apart >= 500 && (apart + 500) % 1_000 <= 999, "{apart} ms");
        }
    }
    for watched in &mut dead {
        let reason = watched.state(DeviceState::Unreachable).await;
        assert!(reason.contains("refused") && reason.contains("sshd listens"), "{reason}");
    }
    // It has answered nothing: nobody says that it is online.
    assert!(hung.samples.is_empty() && hung.state.is_none());
    hung.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_answers_late_is_slow_and_goes_on_being_read() {
    let (keys, recorded) = (Sshd::start(""), Arc::new(Recorded::default()));
    let mut late = Watched::start(host(Behaviour::Late, &recorded, &keys).await);
    let reason = late.state(DeviceState::Slow).await;
    assert!(reason.contains("answers take 1.") && reason.contains("busy"), "{reason}");
    late.samples(2).await;
    assert_eq!(late.state.as_ref().unwrap().0, DeviceState::Slow);
    late.end().await;
}
