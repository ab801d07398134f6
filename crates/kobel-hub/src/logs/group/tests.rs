use kobel_wire::log::LogTime;

use super::*;
use crate::logs::{RawLine, line};

const LIMIT: Duration = Duration::from_millis(100);

fn entry(stream: LogOutput, text: &str) -> LogLine {
    line::read(RawLine { at: LogTime::default(), stream, text: text.into(), cut: 0 })
}

/// The entries that these lines become.
fn group(text: &str) -> Vec<LogLine> {
    let (mut grouper, mut out) = (Grouper::new(LIMIT), Vec::new());
    for text in text.split('\n') {
        grouper.push(Instant::now(), entry(LogOutput::Stderr, text), &mut out);
    }
    grouper.flush(&mut out);
    out
}

const JAVA: &str = "2026-11-18 11:06:40,007 ERROR [main] c.e.App: failed
java.lang.IllegalStateException: no
\tat com.example.App.run(App.java:7)
\tat com.example.App.main(App.java:3)
\tSuppressed: java.io.IOException: closed
\t\tat com.example.App.close(App.java:9)
Caused by: java.lang.NullPointerException
\tat com.example.App.get(App.java:12)
\t... 2 more";

const PYTHON: &str = "ERROR:root:it broke
Traceback (most recent call last):
  File \"/app/x.py\", line 1, in <module>
    f()
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"/app/x.py\", line 3, in <module>
    raise app.errors.Broken(\"x\")
app.errors.Broken: x";

const GO: &str = "panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]

goroutine 1 [running]:
main.(*T).f(0x0, {0x1, 0x2})
\t/app/main.go:7 +0x1d
main.main()
\t/app/main.go:3 +0x18

goroutine 18 [chan receive]:
created by main.main in goroutine 1
\t/app/main.go:9 +0x20
exit status 2";

const RUST: &str = "thread 'main' (7) panicked at src/main.rs:2:5:
it broke
stack backtrace:
   0: rust_begin_unwind
             at /rustc/1/library/std/src/panicking.rs:1:5
   1: app::main
             at ./src/main.rs:2:5
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.";

const NODE: &str = "/app/index.js:7
  throw new TypeError(\"x is not a function\");
  ^

TypeError: x is not a function
    at f (/app/index.js:7:9)
    at node:internal/main/run_main_module:23:47 {
  code: 'ERR_X',
  [cause]: 7
}";

#[test]
fn traces_are_one_entry() {
    for trace in [JAVA, PYTHON, GO, RUST, NODE, &NODE[NODE.find("TypeError: x").unwrap()..]] {
        let entries = group(&format!("before\n{trace}\nafter"));
        let texts: Vec<_> = entries.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(texts, ["before", trace, "after"]);
        assert!(entries[1].level >= Some(Level::Error), "{trace}");
        assert_eq!((entries[0].level, entries[1].raw.as_deref()), (None, None));
    }
}

#[test]
fn lines_that_do_not_belong_together_stay_apart() {
    for lines in [
        "ERROR one\nERROR two\nINFO three",
        "WARN one\n  indented\nplain",
        "one\n\tat two",
        "{\"level\":\"error\",\"msg\":\"x\"}\n\tat y",
        "Error: x\n{\"msg\":\"at y\"}\n    at z",
        "panic: x\nplain",
    ] {
        assert_eq!(group(lines).len(), lines.lines().count(), "{lines:?}");
    }
}

#[test]
fn two_traces_in_a_row_are_two_entries() {
    let entries = group(&format!("{JAVA}\n{JAVA}\n{PYTHON}\n{PYTHON}"));
    assert_eq!(entries.len(), 4);
}

#[test]
fn outputs_do_not_mix_and_colours_are_kept() {
    let (mut grouper, mut out) = (Grouper::new(LIMIT), Vec::new());
    let now = Instant::now();
    grouper.push(now, entry(LogOutput::Stderr, "Error: x"), &mut out);
    grouper.push(now, entry(LogOutput::Stdout, "between"), &mut out);
    grouper.push(now, entry(LogOutput::Stderr, "    \u{1b}[90mat y\u{1b}[0m"), &mut out);
    assert_eq!(out.len(), 1, "the other output does not wait");
    grouper.flush(&mut out);
    assert_eq!(
        (out[0].message.as_str(), out[1].message.as_str()),
        ("between", "Error: x\n    at y")
    );
    assert_eq!(out[1].raw.as_deref(), Some("Error: x\n    \u{1b}[90mat y\u{1b}[0m"));
}

#[test]
fn nothing_is_held_back_for_longer_than_the_limit() {
    let (mut grouper, mut out) = (Grouper::new(LIMIT), Vec::new());
    let start = Instant::now();
    assert_eq!(grouper.deadline(), None);
    grouper.push(start, entry(LogOutput::Stdout, "ERROR x"), &mut out);
    assert_eq!(grouper.deadline(), Some(start + LIMIT));
    grouper.expire(start + LIMIT / 2, &mut out);
    assert!(out.is_empty());
    // A frame that comes later is on its own.
    grouper.push(start + LIMIT, entry(LogOutput::Stdout, "\tat y"), &mut out);
    assert_eq!(out.iter().map(|line| &*line.message).collect::<Vec<_>>(), ["ERROR x", "\tat y"]);
    // One that drips does not hold its entry back for ever.
    out.clear();
    let mut now = start + LIMIT;
    grouper.push(now, entry(LogOutput::Stdout, "ERROR x"), &mut out);
    while out.is_empty() {
        now += LIMIT / 2;
        grouper.push(now, entry(LogOutput::Stdout, "\tat y"), &mut out);
        assert!(now < start + LIMIT * 12);
    }
    assert_eq!(grouper.deadline(), None);
}

#[test]
fn entries_are_bounded() {
    let frames = "\n\tat com.example.App.run(App.java:7)".repeat(1200);
    let entries = group(&format!("Error: x{frames}"));
    let lines: Vec<_> = entries.iter().map(|entry| entry.message.lines().count()).collect();
    assert_eq!(lines, [GROUP_LINES, GROUP_LINES, 201]);
    let frame = format!("\n\tat {}", "x".repeat(10_000));
    for entry in group(&format!("Error: x{}", frame.repeat(20))) {
        assert!(entry.message.len() <= GROUP_BYTES);
    }
}
