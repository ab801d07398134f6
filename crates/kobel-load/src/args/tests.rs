//! What is written on the command line, and what it means.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

fn args(args: &[&str]) -> LoadArgs {
    Cli::parse_from([&["load"], args].concat()).load
}

#[test]
fn the_options_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn targets() {
    for (text, expected) in [
        ("http://hub:8000", Some(("hub", 8000, "/socket.io/"))),
        ("hub:8000/", Some(("hub", 8000, "/socket.io/"))),
        ("ws://127.0.0.1/live/", Some(("127.0.0.1", 80, "/live/"))),
        ("http://[::1]:9", Some(("::1", 9, "/socket.io/"))),
        ("https://hub", None),
        ("http://", None),
        ("http://hub:x", None),
        ("http://user@hub", None),
        ("http://hub/a b", None),
        ("http://hub/?x", None),
        ("ftp://hub", None),
    ] {
        let read = text.parse::<Target>().ok();
        let expected = expected.map(|(host, port, path)| Target {
            host: host.into(),
            port,
            path: path.into(),
        });
        assert_eq!(read, expected, "{text}");
    }
    assert_eq!("http://[::1]:9".parse::<Target>().unwrap().authority(), "[::1]:9");
}

#[test]
fn what_is_emitted() {
    let of = |list: &[&str], number| -> Vec<String> {
        args(list).subscriptions(vec!["d0".into(), "d1".into()]).unwrap().packets(number).collect()
    };
    assert_eq!(of(&[], 0), [r#"420["subscribe",{"options":{},"type":"dashboard"}]"#]);
    let kobel = ["--room", "device", "--rate", "5", "--format", "metr2", "--batch"];
    assert_eq!(
        of(&kobel, 3),
        [
            r#"420["subscribe",{"id":"d1","options":{"batch":true,"format":"metr","rate":5,"version":2},"type":"device"}]"#
        ]
    );
    let other = ["--emit", "join", "\"room-{room}\"", "--rooms", "10", "--emit", "hi", "{n}"];
    assert_eq!(of(&other, 13), [r#"420["join","room-3"]"#, r#"421["hi",13]"#]);
    let wrong = args(&["--emit", "join", "room-{room}"]).subscriptions(Vec::new());
    assert!(wrong.unwrap_err().contains("not JSON"));
}

#[test]
fn wrong_options_are_refused() {
    for wrong in [
        &["--connections", "0"][..],
        &["--slow-readers", "101"],
        &["--churn", "-1"],
        &["--duration", "soon"],
        &["--room", "everything"],
        &["--rate", "0"],
        &["--rate", "1.5"],
        &["--header", "x"],
        &["--header", "x: y\r\nz: w"],
        &["--stamp", "a\"b"],
        &["--emit", "join"],
    ] {
        assert!(Cli::try_parse_from([&["load"], wrong].concat()).is_err(), "{wrong:?}");
    }
}
