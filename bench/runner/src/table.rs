//! The table: medians, and what they are against the floor.

use std::{fmt::Write, fs, path::Path};

use serde::Serialize;
use serde_json::json;

use crate::{
    servers::Kind,
    settings::{Found, Setting, Size},
};

/// A server in a setting.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    setting: Setting,
    server: Kind,
    /// How many runs there are medians of.
    runs: usize,
    median: Found,
    all: Vec<Found>,
}

impl Row {
    pub(crate) fn of(setting: Setting, server: Kind, runs: &[Found]) -> Self {
        let mut median = Found::new();
        for name in runs.iter().flat_map(Found::keys) {
            let mut values: Vec<_> = runs.iter().filter_map(|run| run.get(name)).copied().collect();
            values.sort_by(f64::total_cmp);
            // The upper one of two.
            median.insert(name, values[values.len() / 2]);
        }
        Self { setting, server, runs: runs.len(), median, all: runs.to_vec() }
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.median.get(name).copied()
    }
}

/// A column: its title, and the cell of a row beside the floor's row.
type Column = (&'static str, fn(&Row, Option<&Row>) -> Option<String>);

const COST: &[Column] = &[
    ("CPU µs/delivery", |row, _| two(row.get("cpu"))),
    ("× floor", |row, floor| ratio(row.get("cpu"), floor?.get("cpu"))),
    ("core µs/delivery", |row, _| quiet(row, two(row.get("core")))),
    ("p50 ms", |row, _| one(row.get("p50"))),
    ("p95 ms", |row, _| one(row.get("p95"))),
    ("p99 ms", |row, _| one(row.get("p99"))),
    ("deliveries/s", |row, _| whole(row.get("deliveries/s"))),
    ("CPU µs/connection", |row, _| whole(row.get("setup"))),
    ("client's core", |row, _| percent(row.get("client"))),
];

const HELD: &[Column] = &[
    ("deliveries/s held", |row, _| whole(row.get("deliveries/s"))),
    ("× floor", |row, floor| ratio(row.get("deliveries/s"), floor?.get("deliveries/s"))),
    ("p99 ms", |row, _| one(row.get("p99"))),
    ("CPU µs/delivery", |row, _| two(row.get("cpu"))),
    ("client's core", |row, _| percent(row.get("client"))),
    ("beyond: deliveries/s", |row, _| whole(row.get("over"))),
    ("p99 ms", |row, _| one(row.get("over p99"))),
    ("CPU µs/delivery", |row, _| two(row.get("over cpu"))),
];

const MEMORY: &[Column] = &[
    ("B/connection idle", |row, _| whole(row.get("idle"))),
    ("B/connection after events", |row, _| whole(row.get("after"))),
    ("connected", |row, _| whole(row.get("connected"))),
];

const STORM: &[Column] = &[
    ("all back s", |row, _| two(row.get("all back")).or_else(|| Some("not".into()))),
    ("each back p50 ms", |row, _| whole(row.get("back p50"))),
    ("p99 ms", |row, _| whole(row.get("back p99"))),
    ("witnesses p99 ms", |row, _| one(row.get("witness p99"))),
    ("max ms", |row, _| one(row.get("witness max"))),
    ("CPU µs/connection", |row, _| whole(row.get("setup"))),
    ("CPU µs/return", |row, _| whole(row.get("return"))),
    ("peak MB", |row, _| one(row.get("peak").map(|bytes| bytes / 1e6))),
];

const SLOW: &[Column] = &[
    ("p99 ms", |row, _| one(row.get("p99"))),
    ("without slow ones", |row, _| one(row.get("p99 without"))),
    ("×", |row, _| ratio(row.get("p99"), row.get("p99 without"))),
    ("CPU µs/delivery", |row, _| two(row.get("cpu"))),
    ("lost", |row, _| whole(row.get("lost").map(f64::abs))),
    ("peak MB", |row, _| one(row.get("peak").map(|bytes| bytes / 1e6))),
];

fn columns(setting: Setting) -> &'static [Column] {
    match setting {
        Setting::A | Setting::B => COST,
        Setting::C => HELD,
        Setting::D => MEMORY,
        Setting::E => STORM,
        Setting::F => SLOW,
    }
}

fn one(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{value:.1}"))
}

fn two(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{value:.2}"))
}

fn whole(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{value:.0}"))
}

fn percent(value: Option<f64>) -> Option<String> {
    value.map(|value| format!("{:.0} %", value * 100.0))
}

fn ratio(value: Option<f64>, of: Option<f64>) -> Option<String> {
    let ratio = value? / of.filter(|of| *of > 0.0)?;
    Some(format!("{ratio:.2}"))
}

/// A core that others used, too, says nothing.
fn quiet(row: &Row, text: Option<String>) -> Option<String> {
    if row.get("core idle")? > 0.05 { Some("(shared)".into()) } else { text }
}

/// The table, as Markdown.
pub(crate) fn text(machine: &str, size: Size, repeat: u32, rows: &[Row]) -> String {
    let mut out = format!(
        "{machine}.\n\nServer on one core, clients on another; medians of {repeat}. CPU is user and \
         system time of the server's process, with the softirq work done in its name; core is all \
         user, system and softirq time of its core, less what the core did before.\n"
    );
    let mut settings: Vec<_> = rows.iter().map(|row| row.setting).collect();
    settings.dedup();
    for setting in settings {
        let rows: Vec<_> = rows.iter().filter(|row| row.setting == setting).collect();
        let floor = rows.iter().find(|row| row.server == Kind::Floor).copied();
        let columns = columns(setting);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n**{}**\n", setting.title(size));
        let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
        let _ = writeln!(out, "| server | {} |", titles.join(" | "));
        let _ = writeln!(out, "| --- |{}", " ---: |".repeat(columns.len()));
        for row in rows {
            let cell = |(_, cell): &Column| cell(row, floor).unwrap_or_else(|| "–".into());
            let cells: Vec<_> = columns.iter().map(cell).collect();
            let _ = writeln!(out, "| {} | {} |", row.server.name(), cells.join(" | "));
        }
    }
    out
}

/// Writes `results.json` and `results.md`.
pub(crate) fn write(
    out: &Path,
    machine: &str,
    size: Size,
    repeat: u32,
    rows: &[Row],
) -> Result<(), String> {
    let all = json!({ "machine": machine, "quick": size.quick, "repeat": repeat, "rows": rows });
    let json = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
    let text = text(machine, size, repeat, rows);
    for (name, content) in [("results.json", json), ("results.md", text)] {
        let path = out.join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let run = |cpu| Found::from([("cpu", cpu), ("core idle", 0.5)]);
        let floor = Row::of(Setting::B, Kind::Floor, &[run(4.0), run(5.0), run(90.0)]);
        let kobel = Row::of(Setting::B, Kind::Kobel, &[run(6.0)]);
        let text = text("machine", Size { quick: true }, 3, &[floor, kobel]);
        assert!(text.contains("| floor: bare send | 5.00 | 1.00 | (shared) | – |"), "{text}");
        assert!(text.contains("| Kobel | 6.00 | 1.20 |"), "{text}");
    }
}
