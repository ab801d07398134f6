use kobel_hub::logs::{LogProgress, queue};

use super::{super::host::hosts, *};

const NOW: u64 = 1_795_000_000;

fn writer(rate: f64) -> Writer {
    let host = Arc::new(hosts(5, 10).swap_remove(0));
    let nature = (0..40)
        .map(|n| Nature::of(&host, n))
        .find(|nature| (NOW - 1_200..NOW + 1_200).all(|t| nature.is_up(t)))
        .unwrap();
    let key = nature.key().part(60);
    Writer { host, nature, key, rate, made: NOW - 1_200, end: NOW + 1_200 }
}

fn number(line: &RawLine) -> Option<u64> {
    let (_, rest) = line.text.split_once("n=").or_else(|| line.text.split_once(r#""n":"#))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn numbers_have_no_hole_and_times_no_step_back() {
    for rate in [0.05, 1.0, 30.0] {
        let writer = writer(rate);
        let mut lines = Vec::new();
        for t in NOW - 600..NOW {
            writer.second(t, &mut lines);
        }
        assert!(lines.is_sorted_by_key(|line| line.at));
        let numbers: Vec<_> = lines.iter().filter_map(number).collect();
        assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
        let wanted = 600.0 * rate;
        assert!((numbers.len() as f64 - wanted).abs() < 5.0 + 0.1 * wanted, "{}", numbers.len());
        if rate > 1.0 {
            assert!(lines.iter().any(|line| line.text.starts_with("    at ")));
        }
    }
}

#[test]
fn a_log_goes_on_where_it_was_read_to() {
    let writer = writer(20.0);
    let mut all = Vec::new();
    for t in NOW - 60..NOW {
        writer.second(t, &mut all);
    }
    for cut in [1, 7, 100, 333, 800] {
        let mut progress = LogProgress::default();
        for line in &all[..cut] {
            progress.line(line.at);
        }
        let start = LogStart::After(progress.position().unwrap());
        let (upto, skip) = writer.begin(start, NOW as i64 * SECOND);
        let rest = all.iter().filter(|line| line.at.as_nanos() > upto).skip(skip as usize);
        assert!(rest.eq(&all[cut..]), "{cut}");
    }
    let now = NOW as i64 * SECOND - 1;
    let (upto, skip) = writer.begin(LogStart::Tail(50), now);
    let tail = all.iter().filter(|line| line.at.as_nanos() > upto).skip(skip as usize);
    assert!(tail.eq(&all[all.len() - 50..]));
}

#[tokio::test]
async fn one_that_is_gone_is_told_to_its_end() {
    let t = Timestamp::now().as_millis() as u64 / 1_000;
    let writer = Writer { made: t - 600, end: t - 5, ..writer(5.0) };
    let (sink, lines) = queue::channel(queue::Limits::default());
    writer.write(LogStart::Tail(3), &sink).await;
    drop(sink);
    let mut events = Vec::new();
    while let Some(taken) = lines.take().await {
        events.extend(taken.events);
    }
    assert!(matches!(events.last(), Some(SourceEvent::Marker(LogMarker::Stopped, _))));
}
