use super::*;

fn line() -> LogLine {
    LogLine {
        seq: 7,
        timestamp: LogTime::from_nanos(1_795_000_000_007_000_000),
        level: Some(Level::Warn),
        message: "slow".into(),
        fields: Fields::default(),
        stream: LogOutput::Stderr,
        raw: None,
        cut: None,
        marker: None,
    }
}

#[test]
fn a_line_holds_no_more_than_it_has() {
    insta::assert_json_snapshot!(line(), @r#"
    {
      "seq": 7,
      "timestamp": "2026-11-18T11:06:40.007Z",
      "level": "warn",
      "message": "slow",
      "stream": "stderr"
    }
    "#);
}

#[test]
fn a_full_line_and_back() {
    let mut full = line();
    full.timestamp = LogTime::from_nanos(1_795_000_000_007_000_001);
    full.fields.set("took".into(), FieldValue::Number(12.into()));
    full.fields.set("user".into(), FieldValue::Text("{\"id\":1}".into()));
    full.fields.set("took".into(), FieldValue::Number(13.into()));
    full.fields.set("none".into(), FieldValue::Null);
    full.raw = Some("\u{1b}[33mslow\u{1b}[0m".into());
    full.cut = Some(3);
    full.marker = Some(LogMarker::Recreated);
    insta::assert_json_snapshot!(full, @r#"
    {
      "seq": 7,
      "timestamp": "2026-11-18T11:06:40.007000001Z",
      "level": "warn",
      "message": "slow",
      "fields": {
        "took": 13,
        "user": "{\"id\":1}",
        "none": null
      },
      "stream": "stderr",
      "raw": "\u001b[33mslow\u001b[0m",
      "cut": 3,
      "marker": "recreated"
    }
    "#);
    let text = serde_json::to_string(&full).unwrap();
    assert_eq!(serde_json::from_str::<LogLine>(&text).unwrap(), full);
    assert_eq!(full.raw(), "\u{1b}[33mslow\u{1b}[0m");
}

#[test]
fn a_stream_is_device_and_container() {
    let text = format!("0198c0de-0000-7000-8000-0000000000ab:{}", "a".repeat(64));
    let id: LogStreamId = text.parse().unwrap();
    assert_eq!(id.to_string(), text);
    let gap = LogGap { stream_id: &id, from_seq: 3, to_seq: 5, dropped: 3 };
    let gap = serde_json::to_value(gap).unwrap();
    let wanted = serde_json::json!({"streamId": text, "fromSeq": 3, "toSeq": 5, "dropped": 3});
    assert_eq!(gap, wanted);
    for bad in ["", "x", "0198c0de-0000-7000-8000-0000000000ab", "a:b", &format!("{text}:")] {
        assert!(bad.parse::<LogStreamId>().is_err(), "{bad}");
    }
}

#[test]
fn history_and_batch() {
    let id: LogStreamId =
        format!("0198c0de-0000-7000-8000-0000000000ab:{}", "a".repeat(12)).parse().unwrap();
    let logs = [line()];
    let history = LogHistory { stream_id: &id, epoch: "e", logs: &logs, complete: true };
    let history = serde_json::to_value(history).unwrap();
    assert_eq!(history["logs"][0]["message"], "slow");
    assert_eq!((&history["epoch"], &history["complete"]), (&"e".into(), &true.into()));
    let batch = LogBatch { stream_id: &id, logs: &logs, timestamp: 5 };
    let batch = serde_json::to_value(batch).unwrap();
    assert_eq!((&batch["timestamp"], &batch["streamId"]), (&5.into(), &id.to_string().into()));
}

#[test]
fn levels_by_every_sign() {
    let words = [
        ("TRACE", Level::Trace),
        ("dbug", Level::Debug),
        ("Information", Level::Info),
        ("NOTICE", Level::Info),
        ("WARNING", Level::Warn),
        ("wrn", Level::Warn),
        ("Err", Level::Error),
        ("SEVERE", Level::Error),
        ("critical", Level::Fatal),
        ("emerg", Level::Fatal),
    ];
    for (word, level) in words {
        assert_eq!(Level::from_word(word.as_bytes()), Some(level), "{word}");
    }
    for word in ["", "errors", "I", "informationals", "warned"] {
        assert_eq!(Level::from_word(word.as_bytes()), None, "{word}");
    }
    for (letter, level) in [(b'I', Level::Info), (b'w', Level::Warn), (b'F', Level::Fatal)] {
        assert_eq!(Level::from_letter(letter), Some(level));
    }
    assert_eq!(Level::from_letter(b'?'), None);
    let numbers = [
        (0, Level::Fatal),
        (3, Level::Error),
        (4, Level::Warn),
        (7, Level::Debug),
        (10, Level::Trace),
        (30, Level::Info),
        (35, Level::Info),
        (50, Level::Error),
        (60, Level::Fatal),
    ];
    for (number, level) in numbers {
        assert_eq!(Level::from_number(number), Some(level), "{number}");
    }
    for number in [i64::MIN, -4, 8, 9, 100, i64::MAX] {
        assert_eq!(Level::from_number(number), None, "{number}");
    }
    assert_eq!(Level::from_otel(9), Some(Level::Info));
    assert_eq!(Level::from_otel(24), Some(Level::Fatal));
    assert_eq!((Level::from_otel(0), Level::from_otel(25)), (None, None));
    for level in Level::ALL {
        assert_eq!(level.as_str().parse::<Level>().unwrap(), level);
        assert_eq!(Level::from_word(level.as_str().as_bytes()), Some(level));
    }
}

#[test]
fn any_time_prints() {
    for ns in [i64::MIN, -1, 0, 1, i64::MAX] {
        let at = LogTime::from_nanos(ns);
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(serde_json::from_str::<LogTime>(&text).unwrap(), at, "{text}");
    }
}
