use proptest::prelude::*;

use super::*;

fn frame(n: u32, policy: Policy) -> Arc<Frame> {
    Frame::event("/", "e", &n, policy).unwrap()
}

fn payload(outbox: Outbox) -> Vec<u32> {
    let payload = outbox.into_payload();
    let text = std::str::from_utf8(&payload).unwrap();
    text.split('\u{1e}')
        .filter(|p| !p.is_empty())
        .map(|p| serde_json::from_str::<(String, u32)>(&p[2..]).unwrap().1)
        .collect()
}

#[test]
fn the_newest_of_a_key_takes_the_place_of_the_older() {
    let mut outbox = Outbox::new(false, Instant::now());
    for (n, policy) in
        [(1, Policy::Conflate(7)), (2, Policy::Conflate(8)), (3, Policy::Conflate(7))]
    {
        outbox.push(&frame(n, policy), 0, 1000);
    }
    assert_eq!(payload(outbox), [3, 2]);
}

#[test]
fn the_newest_stands_before_nothing_that_must_arrive() {
    let mut outbox = Outbox::new(false, Instant::now());
    let (a, b) = (Policy::Conflate(7), Policy::Conflate(8));
    for (n, policy) in [(1, a), (2, b), (3, Policy::Deliver), (4, a), (5, a)] {
        outbox.push(&frame(n, policy), 0, 1000);
    }
    assert_eq!(payload(outbox), [2, 3, 5]);
}

#[test]
fn a_pong_takes_no_place_of_the_applications_keys() {
    let mut outbox = Outbox::new(false, Instant::now());
    outbox.push(&frame(1, Policy::Conflate(0)), 0, 1000);
    let pong = || Frame::pong(b"x");
    assert!(!outbox.push(&pong(), 0, 1000).conflated);
    assert!(outbox.push(&pong(), 0, 1000).conflated);
    assert_eq!(payload(outbox), [1]);
}

#[test]
fn what_is_replaced_for_ever_takes_no_room_for_ever() {
    let mut outbox = Outbox::new(false, Instant::now());
    outbox.push(&frame(0, Policy::Deliver), 3, 10_000);
    for n in 1..10_000 {
        outbox.push(&frame(n, Policy::Conflate(u64::from(n % 3))), 0, 10_000);
        outbox.push(&frame(n, Policy::DropOldest), 0, 10_000);
    }
    assert!(outbox.frames.len() < 300, "{}", outbox.frames.len());
    assert!(outbox.droppable.len() < 300, "{}", outbox.droppable.len());
    assert!(outbox.keys.len() <= 3);
    assert!(outbox.cost() <= 10_000);
}

#[test]
fn a_single_frame_may_be_larger_than_what_may_wait_behind_it() {
    let large = Frame::event("/", "first", &"x".repeat(5_000), Policy::Deliver).unwrap();
    let mut outbox = Outbox::new(false, Instant::now());
    assert!(!outbox.push(&large, 10, 1_000).full);
    assert!(!outbox.push(&frame(1, Policy::Deliver), 0, 1_000).full);
    assert!(outbox.push(&large, 0, 1_000).full);
}

#[test]
fn a_half_written_frame_is_left_alone() {
    let mut outbox = Outbox::new(false, Instant::now());
    outbox.push(&frame(1, Policy::Conflate(7)), 3, 1000);
    assert!(!outbox.push(&frame(2, Policy::Conflate(7)), 0, 1000).conflated);
    assert!(outbox.push(&frame(3, Policy::Conflate(7)), 0, 1000).conflated);
    let whole = [&frame(1, Policy::Deliver).socket[3..], &frame(3, Policy::Deliver).socket[..]];
    let mut slices = Vec::new();
    outbox.gather(&mut slices);
    assert_eq!(slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<_>>(), whole.concat());
}

#[test]
fn the_oldest_droppable_go_first_and_the_rest_must_fit() {
    let limit = (frame(1, Policy::Deliver).len() + FRAME_COST) * 3;
    let mut outbox = Outbox::new(false, Instant::now());
    let mut push = |n, policy| {
        let pushed = outbox.push(&frame(n, policy), 0, limit);
        (pushed.dropped, pushed.full)
    };
    assert_eq!(push(1, Policy::Deliver), (0, false));
    assert_eq!(push(2, Policy::DropOldest), (0, false));
    assert_eq!(push(3, Policy::DropOldest), (0, false));
    assert_eq!(push(4, Policy::DropOldest), (1, false));
    assert_eq!(push(5, Policy::Deliver), (1, false));
    assert_eq!(push(6, Policy::Deliver), (1, false));
    assert_eq!(push(7, Policy::Deliver), (0, true));
    assert_eq!(payload(outbox), [1, 5, 6, 7]);
}

proptest! {
    /// However the socket takes the bytes, must-deliver frames all arrive, whole and in
    /// order, and the last frame of every key arrives.
    #[test]
    fn nothing_that_must_arrive_is_lost(
        steps in prop::collection::vec((0u64..4, prop::option::of(1usize..60)), 1..100)
    ) {
        let mut outbox = Outbox::new(false, Instant::now());
        let mut wire = Vec::new();
        let mut must = Vec::new();
        let mut last = HashMap::new();
        let write = |outbox: &mut Outbox, wire: &mut Vec<u8>, bytes: usize| {
            let mut slices = Vec::new();
            outbox.gather(&mut slices);
            let all: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
            let some = &all[..bytes.min(all.len())];
            wire.extend_from_slice(some);
            outbox.advance(some.len(), Instant::now());
        };
        for (n, (key, taken)) in steps.into_iter().enumerate() {
            let n = n as u32;
            if key == 0 {
                must.push(n);
                outbox.push(&frame(n, Policy::Deliver), 0, usize::MAX);
            } else {
                last.insert(key, n);
                outbox.push(&frame(n, Policy::Conflate(key)), 0, usize::MAX);
            }
            if let Some(bytes) = taken {
                write(&mut outbox, &mut wire, bytes);
            }
        }
        while !outbox.is_empty() {
            write(&mut outbox, &mut wire, 17);
        }
        prop_assert_eq!(outbox.bytes(), 0);
        let mut got = Vec::new();
        let mut rest = &wire[..];
        while let [_, len, after @ ..] = rest {
            let (text, after) = after.split_at(usize::from(*len));
            let text = std::str::from_utf8(text).unwrap();
            got.push(serde_json::from_str::<(String, u32)>(&text[2..]).unwrap().1);
            rest = after;
        }
        prop_assert!(must.iter().all(|n| got.contains(n)));
        let order: Vec<_> = got.iter().filter(|n| must.contains(n)).copied().collect();
        prop_assert_eq!(&order, &must);
        prop_assert!(last.values().all(|n| got.contains(n)));
        // No number is followed by a smaller one that must arrive.
        let mut most = 0;
        for n in got {
            prop_assert!(!must.contains(&n) || n >= most);
            most = most.max(n);
        }
    }
}

/// An event of a stream whose loss is told as `lost [from, to, count]`.
fn of_stream(stream: u64, n: u64) -> Arc<Frame> {
    let tell = move |lost: Stretch| {
        let told = (stream, lost.from, lost.to, lost.count);
        Some(Frame::event("/", "lost", &told, Policy::Deliver).unwrap())
    };
    let data = (stream, n, "x".repeat(40));
    let stretch = Stretch { from: n, to: n, count: 1 };
    let loss = Loss { stream, stretch, tell: Arc::new(tell) };
    Frame::event("/", "line", &data, Policy::DropOldest).unwrap().with_loss(loss)
}

proptest! {
    /// Of each stream every number arrives once or is told to be lost once, in order, whatever else
    /// comes and however the socket takes the bytes.
    #[test]
    fn what_is_dropped_of_a_stream_is_told_in_its_place(
        steps in prop::collection::vec((0u64..5, prop::option::of(1usize..400)), 1..300)
    ) {
        let limit = 1_500;
        let mut outbox = Outbox::new(false, Instant::now());
        let (mut sent, mut wire) = (HashMap::<u64, u64>::new(), Vec::new());
        let write = |outbox: &mut Outbox, wire: &mut Vec<u8>, bytes: usize| {
            let mut slices = Vec::new();
            outbox.gather(&mut slices);
            let all: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
            wire.extend_from_slice(&all[..bytes.min(all.len())]);
            outbox.advance(bytes.min(all.len()), Instant::now());
        };
        for (stream, taken) in steps {
            match stream {
                3 => drop(outbox.push(&frame(1, Policy::Conflate(9)), 0, limit)),
                4 => drop(outbox.push(&frame(2, Policy::Conflate(8)), 0, limit)),
                _ => {
                    let n = sent.entry(stream).or_default();
                    *n += 1;
                    outbox.push(&of_stream(stream, *n), 0, limit);
                }
            }
            prop_assert!(outbox.frames.len() < 200, "{}", outbox.frames.len());
            if let Some(bytes) = taken {
                write(&mut outbox, &mut wire, bytes);
            }
        }
        while !outbox.is_empty() {
            write(&mut outbox, &mut wire, 1_000);
        }
        prop_assert_eq!(outbox.bytes(), 0);
        let mut next = HashMap::<u64, u64>::new();
        let mut rest = &wire[..];
        while let [_, len, after @ ..] = rest {
            let (text, after) = after.split_at(usize::from(*len));
            let packet: serde_json::Value = serde_json::from_slice(&text[2..]).unwrap();
            let number = |at: usize| packet[1][at].as_u64().unwrap();
            let (from, to) = match packet[0].as_str().unwrap() {
                "line" => (number(1), number(1)),
                "lost" => {
                    prop_assert_eq!(number(3), number(2) - number(1) + 1);
                    (number(1), number(2))
                }
                _ => { rest = after; continue }
            };
            let next = next.entry(number(0)).or_insert(1);
            prop_assert_eq!(*next, from);
            *next = to + 1;
            rest = after;
        }
        for (stream, n) in sent {
            prop_assert_eq!(next.get(&stream).copied(), Some(n + 1));
        }
    }
}
