use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn begun() -> (Core<u64>, Instant) {
    let (mut core, now) = (Core::new(), Instant::now());
    assert!(core.begin(0, now).is_empty());
    (core, now)
}

/// Opens a connection; its place.
fn grown(core: &mut Core<u64>, connection: u64, now: Instant) -> Place {
    let place = core.grow(now).unwrap();
    assert!(core.opened(&place, connection));
    place
}

#[tokio::test]
async fn sessions_are_kept_for_the_loops_and_further_ones_take_connections() {
    let (mut core, now) = begun();
    let others: Vec<_> = (0..8).map(|_| core.find(Use::Session, now).unwrap()).collect();
    assert!(others.iter().all(|found| found.connection == 0 && !found.unsure));
    assert_eq!(core.find(Use::Session, now).unwrap_err(), Full::Grow);
    // Who reads the host, and forwardings, still find theirs.
    assert_eq!(core.find(Use::Own, now).unwrap().connection, 0);
    assert_eq!(core.find(Use::Forward, now).unwrap().connection, 0);
    grown(&mut core, 1, now);
    assert_eq!(core.find(Use::Session, now).unwrap().connection, 1);
    assert_eq!(core.figures(), Figures { in_use: 2, idle: 0 });
}

#[tokio::test]
async fn a_host_that_gives_fewer_sessions_is_asked_for_no_more() {
    let (mut core, now) = begun();
    core.find(Use::Own, now).unwrap();
    let second = core.find(Use::Own, now).unwrap();
    assert!(core.refused(&second.place, now));
    assert_eq!(core.limit(), 1);
    assert_eq!(core.find(Use::Session, now).unwrap_err(), Full::Grow);
    let place = grown(&mut core, 1, now);
    assert_eq!(core.find(Use::Session, now).unwrap_err(), Full::Grow);
    // A host that gives none at all is another matter.
    assert!(!core.refused(&place, now));
    assert_eq!(core.limit(), 1);
}

#[tokio::test]
async fn a_session_that_ended_settles_before_its_place_is_used_again() {
    let (mut core, now) = begun();
    core.find(Use::Own, now).unwrap();
    let refused = core.find(Use::Session, now).unwrap();
    core.refused(&refused.place, now);
    let place = grown(&mut core, 1, now);
    core.release(&place, now);
    assert_eq!(core.find(Use::Session, now).unwrap_err(), Full::Grow);
    let found = core.find(Use::Session, now + SETTLING).unwrap();
    assert_eq!((found.connection, found.unsure), (1, true));
}

#[tokio::test]
async fn idle_ones_end_and_the_first_does_not() {
    let (mut core, now) = begun();
    let place = grown(&mut core, 1, now);
    core.release(&place, now);
    assert!(core.rest(now + IDLE - SETTLING, |_| false).is_empty());
    assert_eq!(core.rest(now + IDLE, |_| false), [1]);
    assert_eq!(core.figures(), Figures { in_use: 0, idle: 1 });
    grown(&mut core, 2, now);
    assert_eq!(core.rest(now, |_| true), [2]);
}

#[tokio::test]
async fn what_cannot_be_opened_is_tried_by_growing_waits_and_a_refusal_not_again() {
    let (mut core, mut now) = begun();
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        let place = core.grow(now).unwrap();
        core.failed(&place, "gone".into(), false, now);
        let just_before = now + Duration::from_secs(wait) - Duration::from_millis(1);
        assert_eq!(core.grow(just_before).unwrap_err(), Full::Failed("gone".into()));
        now += Duration::from_secs(wait);
    }
    let place = core.grow(now).unwrap();
    core.failed(&place, "refused".into(), true, now);
    now += Duration::from_secs(100_000);
    assert_eq!(core.grow(now).unwrap_err(), Full::Failed("refused".into()));
    core.begin(7, now);
    assert!(core.grow(now).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Begin,
    End,
    Find(Use),
    Grow,
    Opened(usize),
    Failed(usize, bool),
    Refused(usize),
    Release(usize),
    Silent(usize),
    Wait(u64),
    Rest,
}

fn step() -> impl Strategy<Value = Step> {
    let used = prop_oneof![Just(Use::Own), Just(Use::Session), Just(Use::Forward)];
    prop_oneof![
        1 => Just(Step::Begin),
        1 => Just(Step::End),
        20 => used.prop_map(Step::Find),
        20 => Just(Step::Grow),
        20 => any::<usize>().prop_map(Step::Opened),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(n, good)| Step::Failed(n, good)),
        3 => any::<usize>().prop_map(Step::Refused),
        9 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Silent),
        4 => (0_u64..400).prop_map(Step::Wait),
        4 => Just(Step::Rest),
    ]
}

proptest! {
    /// Connections are numbered here; one that is over comes out once, whatever happens.
    #[test]
    fn never_above_the_most_and_nothing_is_handed_out_twice(
        before in 0..=MOST,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let (mut core, mut now) = (Core::<u64>::new(), Instant::now());
        let mut made = 0;
        // Connections that are there, places that are held, and those that wait to be opened.
        let mut open: Vec<u64> = Vec::new();
        let mut places: Vec<(Place, Option<u64>)> = Vec::new();
        let mut opening: Vec<Place> = Vec::new();
        let pick = |n: usize, of: usize| (of > 0).then(|| n % of);
        // Many are there already: by chance alone there never are.
        let many = [vec![Step::Begin], vec![Step::Grow; before], vec![Step::Opened(0); before]];
        for step in many.into_iter().flatten().chain(steps) {
            let mut over = Vec::new();
            let ends_all = matches!(step, Step::Begin | Step::End);
            match step {
                Step::Begin => {
                    over = core.begin(made, now);
                    open.push(made);
                    made += 1;
                }
                Step::End => over = core.end(),
                Step::Find(used) => if let Ok(found) = core.find(used, now) {
                    prop_assert!(open.contains(&found.connection), "one that is over");
                    places.push((found.place, Some(found.connection)));
                },
                Step::Grow => opening.extend(core.grow(now).ok()),
                Step::Opened(n) => if let Some(at) = pick(n, opening.len()) {
                    let place = opening.swap_remove(at);
                    if core.opened(&place, made) {
                        open.push(made);
                        places.push((place, Some(made)));
                    }
                    made += 1;
                },
                Step::Failed(n, for_good) => if let Some(at) = pick(n, opening.len()) {
                    core.failed(&opening.swap_remove(at), "x".into(), for_good, now);
                },
                Step::Refused(n) => if let Some(at) = pick(n, places.len()) {
                    core.refused(&places.swap_remove(at).0, now);
                },
                Step::Release(n) => if let Some(at) = pick(n, places.len()) {
                    over.extend(core.release(&places.swap_remove(at).0, now));
                },
                Step::Silent(n) => if let Some(at) = pick(n, places.len()) {
                    over = core.silent(&places.swap_remove(at).0, now);
                },
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Rest => over = core.rest(now, |_| false),
            }
            for connection in over {
                let used = places.iter().any(|(_, of)| *of == Some(connection));
                prop_assert!(!used || ends_all, "one that is used was ended");
                let at = open.iter().position(|known| *known == connection);
                prop_assert!(at.is_some(), "ended twice: {}", connection);
                open.swap_remove(at.unwrap());
            }
            // A place on what is over counts no longer, and may be given back all the same.
            let held = core.held.len();
            prop_assert!(held <= MOST);
            prop_assert_eq!(core.figures().in_use + core.figures().idle, held as u64);
            let mut sessions: BTreeMap<u64, usize> = BTreeMap::new();
            for (place, of) in &places {
                let there = of.is_some_and(|of| open.contains(&of));
                if there && place.used == Use::Session {
                    *sessions.entry(place.connection).or_default() += 1;
                }
            }
            for (number, held) in &core.held {
                let known = sessions.get(number).copied().unwrap_or(0);
                prop_assert_eq!(held.sessions, known + usize::from(held.connection.is_none()));
                prop_assert!(held.sessions <= SESSIONS);
            }
        }
        // Whoever rests long enough ends, but for the first.
        for (place, _) in places.drain(..) {
            core.release(&place, now);
        }
        core.rest(now + IDLE, |_| false);
        let left = core.held.values().filter(|held| held.connection.is_some()).count();
        prop_assert!(left <= 1);
    }
}
