//! Against a plain look at every line.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::logs::store::{
    Keep, Whose,
    writer::{
        Batch, Writer,
        tests::{entry, identity},
    },
};

const WORDS: [&str; 8] = ["Error", "timeout", "größe", "GET", "user_7", "7", "done", "a-b"];

fn found(catalog: &SharedCatalog, looked: &LogSearch) -> Vec<FoundLine> {
    let mut all = Vec::new();
    search(catalog, looked, &|_| true, &mut |event| {
        if let SearchEvent::Found(line) = event {
            all.push(*line);
        }
        ControlFlow::Continue(())
    });
    all
}

/// A store of three streams, some of it packed; and all that is in it, newest first.
fn stored(lines: &[(u8, i64, String)]) -> (tempfile::TempDir, SharedCatalog, Vec<FoundLine>) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = SharedCatalog::default();
    let now = SystemTime::now();
    let (mut writer, _) =
        Writer::open(folder.path(), Keep::default(), catalog.clone(), now).unwrap();
    let mut all = Vec::new();
    let mut numbers = [0_u64; 3];
    for (n, (stream, at, text)) in lines.iter().enumerate() {
        let line = entry(*at, text);
        let batch =
            Batch { identity: identity(*stream), lines: vec![line.clone()], position: None };
        writer.append(&[batch], now).unwrap();
        let number = &mut numbers[usize::from(*stream)];
        *number += 1;
        let mut line = LogLine::clone(&line);
        line.seq = *number;
        let identity = identity(*stream);
        let (time, stream) = (line.timestamp.as_nanos(), StreamKey::of(&identity.stream()).0);
        all.push(FoundLine { place: LogPlace { time, stream, number: *number }, identity, line });
        if n == lines.len() / 2 {
            writer.finish(now).unwrap();
        }
    }
    all.sort_by_key(|line| std::cmp::Reverse(line.place));
    (folder, catalog, all)
}

fn texts() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(0..WORDS.len(), 0..6);
    (words, 0..4_u8).prop_map(|(words, form)| {
        let text = words.iter().map(|word| WORDS[*word]).collect::<Vec<_>>().join(" ");
        match form {
            0 => text,
            1 => serde_json::json!({ "level": "warn", "msg": text, "user": "user 7", "n": 7 })
                .to_string()
                .replace('ö', "\\u00f6"),
            2 => format!("level=error msg={text:?} n=12.50"),
            _ => format!("\u{1b}[31mERROR\u{1b}[0m {text}"),
        }
    })
}

/// What a query means, in the plainest words.
fn plainly(query: &str, line: &LogLine) -> bool {
    let texts = [line.raw(), &line.message];
    let any = |test: &dyn Fn(&str) -> bool| texts.iter().any(|text| test(text));
    let words = |text: &str| -> Vec<String> {
        let mut all: Vec<String> =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase).collect();
        all.retain(|word| !word.is_empty());
        all
    };
    let level = line.level.unwrap_or(kobel_wire::log::Level::Info);
    query.split_whitespace().all(|term| {
        let (not, term) = term.strip_prefix('-').map_or((false, term), |term| (true, term));
        let holds = match term {
            "level>=warn" => level >= kobel_wire::log::Level::Warn,
            "level=info" => level == kobel_wire::log::Level::Info,
            "n=7" => line.fields.get("n").is_some_and(|n| n.is("7")),
            "n=12.5" => line.fields.get("n").is_some_and(|n| n.is("12.5")),
            "/^Err|7$/" => any(&|text| text.starts_with("Err") || text.ends_with('7')),
            "/time.ut/" => any(&|text| text.contains("timeout")),
            "a-b" => any(&|text| text.contains("a-b")),
            "time*" => any(&|text| words(text).iter().any(|word| word.starts_with("time"))),
            word => any(&|text| words(text).contains(&word.to_lowercase())),
        };
        holds != not
    })
}

const QUERIES: [&str; 16] = [
    "",
    "error",
    "ERROR timeout",
    "größe",
    "GRÖßE",
    "-error",
    "level>=warn",
    "level=info get",
    "n=7",
    "n=12.5",
    "/^Err|7$/",
    "/time.ut/ -done",
    "a-b",
    "time*",
    "user_7 -n=7",
    "7",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn as_a_plain_scan_finds(
        lines in prop::collection::vec((0..3_u8, -50..50_i64, texts()), 1..60),
        query in 0..QUERIES.len(),
        page in 1..30_usize,
        oldest_first: bool,
        window in (-60..60_i64, -60..60_i64),
    ) {
        let (_folder, catalog, mut all) = stored(&lines);
        let text = QUERIES[query];
        let base = 1_795_000_000_000_000_000;
        let (from, to) = (base + window.0 * 1_000_000, base + window.1 * 1_000_000);
        all.retain(|line| (from..=to).contains(&line.place.time) && plainly(text, &line.line));
        let order = if oldest_first { LogOrder::OldestFirst } else { LogOrder::NewestFirst };
        if oldest_first {
            all.reverse();
        }
        let mut looked = LogSearch {
            query: LogQuery::parse(text).unwrap(), from, to, order, ..LogSearch::default()
        };
        prop_assert_eq!(&found(&catalog, &looked), &all, "{}", text);
        // By pages.
        looked.limit = page;
        let mut pages = Vec::new();
        loop {
            let lines = found(&catalog, &looked);
            let Some(last) = lines.last() else { break };
            prop_assert!(lines.len() <= page);
            looked.after = Some(last.place.to_string().parse().unwrap());
            pages.extend(lines);
        }
        prop_assert_eq!(pages, all);
    }
}

#[test]
fn more_than_can_wait_comes_in_order_all_the_same() {
    let long = "x".repeat(400_000);
    let lines: Vec<_> = (0..240).map(|n| ((n % 3) as u8, n, format!("{n} {long}"))).collect();
    let (_folder, catalog, all) = stored(&lines);
    let numbers =
        |lines: Vec<FoundLine>| lines.into_iter().map(|line| line.place).collect::<Vec<_>>();
    assert_eq!(numbers(found(&catalog, &LogSearch::default())), numbers(all));
}

#[test]
fn whose_lines_and_who_may_see_them() {
    let lines: Vec<_> = (0..9).map(|n| ((n % 3) as u8, n, format!("line {n}"))).collect();
    let (_folder, catalog, _) = stored(&lines);
    let count = |query: &str| {
        let query = LogQuery::parse(query).unwrap();
        found(&catalog, &LogSearch { query, ..LogSearch::default() }).len()
    };
    for (query, wanted) in [
        ("container=web-1", 3),
        ("container=web-1 container=web-2", 6),
        ("container=web-*", 9),
        ("-container=web-1", 6),
        ("container=010101", 3),
        ("container=web", 0),
        ("device=nest project=shop", 9),
        ("device=0198c0de-0000-7000-8000-0000000000ab line", 9),
        ("service=x", 0),
        ("project:sh*p", 9),
    ] {
        assert_eq!(count(query), wanted, "{query}");
    }
    let mut query = LogQuery::default();
    query.of(Whose::Container, "web-0");
    let looked = LogSearch { query, ..LogSearch::default() };
    assert_eq!(found(&catalog, &looked).len(), 3);
    let mut all = 0;
    // Taken away while it is looked for.
    let left = std::cell::Cell::new(8);
    search(&catalog, &LogSearch::default(), &|_| left.replace(left.get() - 1) > 0, &mut |event| {
        all += usize::from(matches!(event, SearchEvent::Found(_)));
        ControlFlow::Continue(())
    });
    assert_eq!(all, 5, "three looks to plan");
}

#[test]
fn what_is_wrong_with_a_query_is_said() {
    for (query, wanted) in [
        ("\"open", "a closing \" is missing"),
        ("/open", "a closing / is missing"),
        ("/(/", "unclosed group"),
        ("/a/x", "only i may follow"),
        ("level>=loud", "use trace, debug"),
        ("took>5", "only level can be compared"),
        ("stream=x", "use stdout or stderr"),
        (&"x".repeat(5_000), "longer than 4000 bytes"),
        (&"x ".repeat(60), "more than 50 terms"),
        ("/\\w{1000}{100}/", "larger than"),
    ] {
        let error = LogQuery::parse(query).unwrap_err().to_string();
        assert!(error.contains(wanted), "{query}: {error}");
    }
    for good in
        ["-", "a:", "http://x/y", "a=b=c", "\"a \\\" b\"", "/a\\/b/i", "level:WARNING", "=x", "--x"]
    {
        assert!(LogQuery::parse(good).is_ok(), "{good}");
    }
}

proptest! {
    #[test]
    fn any_query_is_read_or_refused(query in "\\PC{0,40}|[-\"/a=:<>*.() ]{0,40}") {
        let _ = LogQuery::parse(&query);
    }
}
