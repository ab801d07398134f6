//! Events in any order, and what is known afterwards.

use kobel_wire::Health;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + seconds * 1000)
}

fn id(n: u8) -> ContainerId {
    format!("{n:064x}").parse().unwrap()
}

fn inspect(n: u8, status: &str, code: i64) -> ContainerInspectResponse {
    serde_json::from_value(json!({
        "Id": id(n).as_str(), "Name": format!("/c{n}"), "Config": { "Image": "busybox" },
        "State": { "Status": status, "ExitCode": code },
    }))
    .unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "so that json!() stands bare in the calls")]
fn event(n: u8, action: &str, attributes: serde_json::Value) -> EventMessage {
    serde_json::from_value(json!({
        "Type": "container", "Action": action,
        "Actor": { "ID": id(n).as_str(), "Attributes": attributes },
    }))
    .unwrap()
}

fn watch(containers: &[(u8, &str)]) -> Watch {
    let mut watch = Watch::new("0198c0de-0000-7000-8000-0000000000ab".parse().unwrap(), now(0));
    watch.stock(containers.iter().map(|(n, status)| inspect(*n, status, 0)).collect(), now(0));
    watch
}

fn reported(actions: &[Action]) -> Option<&Container> {
    actions.iter().find_map(|action| match action {
        Action::Report(container) => Some(&**container),
        _ => None,
    })
}

#[test]
fn stock_names_all_and_measures_what_runs() {
    let mut watch = Watch::new("0198c0de-0000-7000-8000-0000000000ab".parse().unwrap(), now(0));
    let (containers, actions) =
        watch.stock(vec![inspect(1, "running", 0), inspect(2, "exited", 3)], now(0));
    assert_eq!(containers.len(), 2);
    assert_eq!(actions, [Action::Measure(id(1))]);
}

#[test]
fn an_end_is_told_at_once_and_confirmed() {
    let mut watch = watch(&[(1, "running")]);
    watch.figures(&id(1), Figures { cpu: Some(5.0), ..Figures::default() }, now(1));
    let actions = watch.event(&event(1, "die", json!({ "exitCode": "137" })), now(2));
    let told = reported(&actions).unwrap();
    assert_eq!((told.state, told.exit_code, told.cpu), (ContainerState::Exited, Some(137), None));
    assert_eq!(told.status, "Exited (137) Less than a second ago");
    assert!(actions.contains(&Action::StopMeasuring(id(1))));
    assert!(actions.contains(&Action::Inspect(id(1))));
    // Figures that come late are those of the dead.
    assert_eq!(
        watch.figures(&id(1), Figures { cpu: Some(9.0), ..Figures::default() }, now(2)),
        None
    );
    // Its restart policy wants it back.
    let actions = watch.inspected(&id(1), Some(inspect(1, "restarting", 137)), now(2));
    assert_eq!(reported(&actions).unwrap().state, ContainerState::Restarting);
}

#[test]
fn an_answer_that_an_event_overtook_is_thrown_away() {
    let mut watch = watch(&[(1, "running")]);
    assert_eq!(watch.event(&event(1, "update", json!({})), now(1)), [Action::Inspect(id(1))]);
    // The engine answers with the state before this.
    let actions = watch.event(&event(1, "die", json!({ "exitCode": "0" })), now(1));
    assert!(!actions.contains(&Action::Inspect(id(1))), "two inspects at once");
    assert_eq!(
        watch.inspected(&id(1), Some(inspect(1, "running", 0)), now(1)),
        [Action::Inspect(id(1))]
    );
    let actions = watch.inspected(&id(1), Some(inspect(1, "exited", 0)), now(1));
    assert_eq!(reported(&actions).unwrap().state, ContainerState::Exited);
}

#[test]
fn a_flood_of_events_makes_one_inspect_at_a_time() {
    let mut watch = watch(&[(1, "running")]);
    let mut inspects = 0;
    for n in 0..1_000 {
        let action = if n % 2 == 0 { "die" } else { "start" };
        let actions = watch.event(&event(1, action, json!({})), now(1));
        inspects += actions.iter().filter(|a| matches!(a, Action::Inspect(_))).count();
    }
    assert_eq!(inspects, 1);
}

#[test]
fn what_begins_is_not_known_until_it_is_inspected() {
    let mut watch = watch(&[]);
    assert_eq!(watch.event(&event(1, "create", json!({})), now(1)), [Action::Inspect(id(1))]);
    assert!(watch.event(&event(1, "start", json!({})), now(1)).is_empty());
    watch.inspected(&id(1), Some(inspect(1, "created", 0)), now(1));
    let actions = watch.inspected(&id(1), Some(inspect(1, "running", 0)), now(1));
    assert_eq!(reported(&actions).unwrap().state, ContainerState::Running);
    assert!(actions.contains(&Action::Measure(id(1))));
}

#[test]
fn a_removed_one_is_the_last_word() {
    let mut watch = watch(&[(1, "running")]);
    watch.event(&event(1, "die", json!({})), now(1));
    let actions = watch.event(&event(1, "destroy", json!({})), now(1));
    assert_eq!(reported(&actions).unwrap().state, ContainerState::Removed);
    // The inspect that was under way may still have found it.
    let actions = watch.inspected(&id(1), Some(inspect(1, "exited", 0)), now(1));
    assert_eq!(actions, [Action::Inspect(id(1))]);
    assert!(watch.inspected(&id(1), None, now(1)).is_empty());
}

#[test]
fn names_health_and_pauses() {
    let mut watch = watch(&[(1, "running")]);
    let mut told = |action: &str, attributes: serde_json::Value| {
        reported(&watch.event(&event(1, action, attributes), now(1))).cloned().unwrap()
    };
    assert_eq!(told("rename", json!({ "name": "/new\u{7}" })).name, "new");
    assert_eq!(told("health_status: unhealthy", json!({})).health, Some(Health::Unhealthy));
    assert_eq!(told("pause", json!({})).state, ContainerState::Paused);
    assert_eq!(told("unpause", json!({})).state, ContainerState::Running);
}

#[test]
fn what_says_nothing_costs_nothing() {
    let mut watch = watch(&[(1, "running")]);
    for action in ["exec_create: test -f /well", "exec_start", "exec_die", "top", "attach"] {
        assert!(watch.event(&event(1, action, json!({})), now(1)).is_empty(), "{action}");
    }
    let nameless = serde_json::from_value(json!({ "Action": "die", "Actor": { "ID": "web" } }));
    assert!(watch.event(&nameless.unwrap(), now(1)).is_empty());
}

#[test]
fn an_event_from_before_the_inventory_changes_nothing_by_itself() {
    let mut watch = watch(&[(1, "running")]);
    let mut old = event(1, "die", json!({}));
    old.time_nano = Some(now(-5).as_millis() * 1_000_000);
    assert_eq!(watch.event(&old, now(1)), [Action::Inspect(id(1))]);
}

#[test]
fn a_lost_connection_blanks_the_figures() {
    let mut watch = watch(&[(1, "running"), (2, "exited")]);
    watch.figures(&id(1), Figures { memory: Some(5), ..Figures::default() }, now(1));
    let blank = watch.lost();
    assert_eq!(blank.len(), 1);
    assert_eq!((blank[0].memory, blank[0].state), (None, ContainerState::Running));
}

proptest! {
    /// Whatever the engine says: one inspect a container at a time, and figures are read of what
    /// is known to run and of nothing else.
    #[test]
    fn measured_is_what_runs(
        steps in prop::collection::vec((0u8..4, 0usize..8), 0..200)
    ) {
        let mut watch = watch(&[(0, "running"), (1, "exited")]);
        let mut measured = HashSet::from([id(0)]);
        let mut asked: Vec<ContainerId> = Vec::new();
        for (n, what) in steps {
            let actions = match what {
                0 => watch.event(&event(n, "start", json!({})), now(1)),
                1 => watch.event(&event(n, "die", json!({})), now(1)),
                2 => watch.event(&event(n, "destroy", json!({})), now(1)),
                3 => watch.event(&event(n, "create", json!({})), now(1)),
                _ => match asked.pop() {
                    Some(id) => {
                        let n = id.as_str().as_bytes()[63] - b'0';
                        let status = if what == 4 { "running" } else { "exited" };
                        let found = (what < 7).then(|| inspect(n, status, 0));
                        watch.inspected(&id, found, now(1))
                    }
                    None => Vec::new(),
                },
            };
            for action in actions {
                match action {
                    Action::Inspect(id) => {
                        prop_assert!(!asked.contains(&id));
                        asked.push(id);
                    }
                    Action::Measure(id) => prop_assert!(measured.insert(id)),
                    Action::StopMeasuring(id) => prop_assert!(measured.remove(&id)),
                    Action::Report(_) => {}
                }
            }
            let running: HashSet<_> = watch
                .known
                .iter()
                .filter(|(_, d)| d.container.state == ContainerState::Running)
                .map(|(id, _)| id.clone())
                .collect();
            prop_assert_eq!(&running, &measured);
        }
    }
}
