use kobel_wire::log::LogOutput;
use proptest::prelude::*;

use super::*;

/// 2026-11-18T11:06:40.007Z, the time of the engine.
const NOW: i64 = 1_795_000_000_007_000_000;

fn entry(text: &str) -> LogLine {
    let (at, stream) = (LogTime::from_nanos(NOW), LogOutput::Stdout);
    read(RawLine { at, stream, text: text.into(), cut: 0 })
}

/// Lines as programs write them, and their level.
const LEVELS: &[(&str, &str)] = &[
    // nginx
    ("2026/11/18 11:06:40 [error] 29#29: *1 open() \"/x\" failed (2: No such file)", "error"),
    ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address in use)", "fatal"),
    ("10.0.0.1 - - [18/Nov/2026:11:06:40 +0000] \"GET /error HTTP/1.1\" 500 12 \"-\" \"curl\"", ""),
    // apache
    ("[Wed Nov 18 11:06:40.902022 2026] [core:error] [pid 35708:tid 4328] File missing", "error"),
    // postgres
    ("2026-11-18 11:06:40.007 UTC [1] LOG:  database system is ready", "info"),
    (
        "2026-11-18 11:06:40.007 UTC [52] ERROR:  relation \"x\" does not exist at character 15",
        "error",
    ),
    ("2026-11-18 11:06:40.007 UTC [52] app@db FATAL:  password authentication failed", "fatal"),
    ("2026-11-18 11:06:40.007 UTC [52] STATEMENT:  select error from x", ""),
    // mysql
    ("2026-11-18T11:06:40.007123Z 0 [Warning] [MY-010068] [Server] CA certificate", "warn"),
    ("2026-11-18T11:06:40.007123Z 0 [Note] [MY-010068] [Server] error log", "info"),
    // redis
    ("1:M 18 Nov 2026 11:06:40.007 * Ready to accept connections", "info"),
    ("1:M 18 Nov 2026 11:06:40.007 # WARNING overcommit_memory is set to 0", "warn"),
    // traefik, docker
    ("time=\"2026-11-18T11:06:40Z\" level=warning msg=\"no provider\" provider=file", "warn"),
    ("2026-11-18T11:06:40Z INF Starting provider *file.Provider", "info"),
    ("2026-11-18T11:06:40Z ERR Cannot connect error=\"refused\"", "error"),
    // systemd, syslog
    ("<3>disk is full", "error"),
    ("<13>Nov 18 11:06:40 host app: hello", "info"),
    ("Nov 18 11:06:40 host systemd[1]: Failed to start x.service.", ""),
    ("Nov 18 11:06:40 host app[7]: ERROR: it broke", "error"),
    // java
    ("2026-11-18 11:06:40,007 ERROR [main] com.example.App: failed", "error"),
    ("11:06:40.007 [main] WARN  c.e.App - slow", "warn"),
    ("2026-11-18T11:06:40.007Z  INFO 1 --- [main] c.e.App  : Started App", "info"),
    ("SEVERE: Servlet threw exception", "error"),
    // python
    ("2026-11-18 11:06:40,007 - my.logger - ERROR - it broke", "error"),
    ("WARNING:root:look out", "warn"),
    ("ERROR:root:it broke", "error"),
    ("INFO:     Uvicorn running on http://0.0.0.0:8000", "info"),
    ("[2026-11-18 11:06:40 +0000] [1] [INFO] Starting gunicorn 20.1.0", "info"),
    ("[2026-11-18 11:06:40,007: WARNING/MainProcess] celery", "warn"),
    // go
    ("2026/11/18 11:06:40 INFO hello count=3", "info"),
    ("2026/11/18 11:06:40 listening on :8080", ""),
    ("2026-11-18T11:06:40.007Z\tinfo\tserver/main.go:12\tstarted", "info"),
    ("2026-11-18T11:06:40.007+0100\tERROR\tserver/main.go:12\tbroke", "error"),
    ("I1118 11:06:40.007000       1 main.go:12] started", "info"),
    ("E1118 11:06:40.007000       1 main.go:12] broke", "error"),
    ("panic: runtime error: index out of range", "fatal"),
    // rust
    ("2026-11-18T11:06:40.007123Z  WARN app::db: slow query", "warn"),
    ("[2026-11-18T11:06:40Z ERROR app::db] refused", "error"),
    // node
    ("info: listening {\"port\":3000}", "info"),
    ("[11:06:40.007] ERROR (123): broke", "error"),
    ("npm ERR! code ELIFECYCLE", "error"),
    (
        "\u{1b}[32m[Nest] 1  - \u{1b}[39m11/18/2026, 11:06:40 AM \u{1b}[32m    LOG\u{1b}[39m [App] up",
        "",
    ),
    // rails
    ("W, [2026-11-18T11:06:40.007123 #1]  WARN -- : deprecated", "warn"),
    // .NET, compilers
    ("fail: Microsoft.Hosting[0]", "error"),
    ("dbug: Microsoft.Hosting[0]", "debug"),
    ("warning: unused variable: `x`", "warn"),
    ("error[E0308]: mismatched types", ""),
    // others
    ("|WARN| custom", "warn"),
    ("<info> NetworkManager", "info"),
    ("level=debug and then words", "debug"),
    ("2026-11-18 11:06:40 worker-1 INFO done", "info"),
    // prose
    ("no errors found", ""),
    ("0 errors, 2 warnings", ""),
    ("Please report ERROR codes to us", ""),
    ("The error was handled", ""),
    ("Completed without error", ""),
    ("error handling enabled", ""),
    ("debug mode is off", ""),
    ("Running in info mode", ""),
    ("errors: 0", ""),
    ("HTTP server started", ""),
    ("2026/11/18 11:06:40 debug mode is on", ""),
    ("information about fatalities", ""),
    ("", ""),
    ("   ", ""),
    ("[", ""),
    ("=", ""),
    // JSON
    (r#"{"level":30,"time":1795000000007,"pid":1,"msg":"pino"}"#, "info"),
    (r#"{"level":50,"msg":"bunyan","v":0}"#, "error"),
    (r#"{"level":"warn","ts":1795000000.007,"msg":"zap"}"#, "warn"),
    (r#"{"time":"2026-11-18T11:06:40Z","level":"INFO+2","msg":"slog"}"#, "info"),
    (r#"{"severity":"CRITICAL","message":"gcp"}"#, "fatal"),
    (r#"{"lvl":"E","msg":"x"}"#, "error"),
    (
        r#"{"t":{"$date":"2026-11-18T11:06:40.007+00:00"},"s":"W","c":"NETWORK","msg":"mongo"}"#,
        "warn",
    ),
    (r#"{"level":3,"short_message":"gelf"}"#, "error"),
    (r#"{"severity_number":17,"body":"otel"}"#, "error"),
    (r#"{"message":"error"}"#, ""),
];

#[test]
fn levels_of_real_lines() {
    let wrong: Vec<_> = LEVELS
        .iter()
        .map(|(text, level)| (text, *level, entry(text).level.map_or("", Level::as_str)))
        .filter(|(_, wanted, read)| wanted != read)
        .collect();
    assert!(wrong.is_empty(), "line, wanted, read: {wrong:#?}");
}

#[test]
fn a_plain_line_is_its_own_message() {
    let line = entry("hello grüße");
    assert_eq!((line.message.as_str(), line.raw), ("hello grüße", None));
    let line = entry("\u{1b}[31mred\u{1b}[0m\r");
    assert_eq!(line.message, "red");
    assert_eq!(line.raw.as_deref(), Some("\u{1b}[31mred\u{1b}[0m\r"));
}

#[test]
fn json_is_taken_apart() {
    let text = r#"{"time":"2026-11-18T11:06:41Z","level":"error","msg":"a \u001b[31mb\nc","n":1.5,"ok":true,"none":null,"user":{"id":7},"tags":[1, 2],"s\"x":"y","n":2}"#;
    let line = entry(text);
    assert_eq!(line.timestamp.to_string(), "2026-11-18T11:06:41.000Z");
    assert_eq!((line.message.as_str(), line.level), ("a b\nc", Some(Level::Error)));
    assert_eq!(line.raw.as_deref(), Some(text));
    let fields: Vec<_> = line.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let wanted = ["n=2", "ok=true", "none=null", "user={\"id\":7}", "tags=[1, 2]", "s\"x=y"];
    assert_eq!(fields, wanted);
    // A level or a time that cannot be read is a field like any other.
    let line = entry(r#"{"level":"purple","time":"noon","msg":7}"#);
    let fields: Vec<_> = line.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(fields, ["level=purple", "time=noon", "msg=7"]);
    for not in ["{", "{}x", "{\"a\":}", "[1]", "{\"a\":1,}"] {
        assert!(entry(not).fields.is_empty() && entry(not).raw.is_none(), "{not}");
    }
}

#[test]
fn logfmt_is_taken_apart() {
    let line =
        entry(r#"time=2026-11-18T11:06:41Z level=info msg="a \"b\" c" n=1 empty= path=/x?y=1"#);
    assert_eq!(line.timestamp.to_string(), "2026-11-18T11:06:41.000Z");
    assert_eq!((line.message.as_str(), line.level), ("a \"b\" c", Some(Level::Info)));
    let fields: Vec<_> = line.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(fields, ["n=1", "empty=", "path=/x?y=1"]);
    for not in ["a=1", "a=1 and b=2", "a=\"1", "x=1 \"y\"=2", "=1 b=2", "a=1\"2 b=3"] {
        assert!(entry(not).fields.is_empty(), "{not}");
    }
}

#[test]
fn whose_time_counts() {
    let table = [
        ("2026-11-18T11:06:39.5Z x", "2026-11-18T11:06:39.500Z"),
        ("2026-11-18T12:06:39.5+01:00 x", "2026-11-18T11:06:39.500Z"),
        ("2026-11-18 11:06:39,5 x", "2026-11-18T11:06:39.500Z"),
        // Local time, an hour ahead.
        ("2026-11-18 12:06:39,5 x", "2026-11-18T11:06:40.007Z"),
        // Not a time of now at all.
        ("2020-01-01T00:00:00Z x", "2026-11-18T11:06:40.007Z"),
        (r#"{"ts":1795000000.25}"#, "2026-11-18T11:06:40.250Z"),
        (r#"{"time":"1795000000251"}"#, "2026-11-18T11:06:40.251Z"),
        (r#"{"@timestamp":7}"#, "2026-11-18T11:06:40.007Z"),
        ("x", "2026-11-18T11:06:40.007Z"),
    ];
    for (text, wanted) in table {
        assert_eq!(entry(text).timestamp.to_string(), wanted, "{text}");
    }
}

#[test]
fn fields_are_bounded() {
    let many: String = (0..500).map(|n| format!(",\"k{n}\":{n}")).collect();
    let line = entry(&format!("{{\"msg\":\"m\"{many}}}"));
    assert_eq!((line.message.as_str(), line.fields.len()), ("m", FIELDS));
    let large = "x".repeat(FIELD_BYTES);
    let line = entry(&format!("{{\"large\":\"{large}\",\"small\":1,\"msg\":\"m\"}}"));
    assert!(line.fields.get("large").is_none() && line.fields.get("small").is_some());
    let deep = format!("{{\"d\":{}{},\"msg\":\"m\"}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(entry(&deep).message, "m");
}

proptest! {
    #[test]
    fn any_text_is_an_entry(text in "\\PC{0,80}", form in "([\\[\\]<>(){}|:=\"\\\\, \t\u{1b}-]|ERROR|info|2026-11-18T11:06:40Z|1:M |W, \\[|E0102 |[0-9a-z])*") {
        for text in [text, form] {
            let line = entry(&text);
            prop_assert_eq!(line.raw(), text);
        }
    }
}
