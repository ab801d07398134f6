//! What shaping saves, measured on a whole hub with a simulated fleet: bytes by format, processor
//! time and memory by device, watched and not, and what tiers save.

mod fleet;

use std::{fmt::Write, path::PathBuf, thread::sleep, time::Duration};

use clap::Args;
use fleet::Fleet;
use serde_json::Value;

use crate::machine;

/// The formats by the names of `kobel load`.
const FORMATS: [(&str, &str); 4] =
    [("json", "JSON"), ("protobuf", "Protocol Buffers"), ("metr", "METR v1"), ("metr2", "METR v2")];

/// The shares of a mix of viewers, by the rate of their tier in seconds.
const MIX: [(&str, u32); 3] = [("1", 10), ("5", 30), ("30", 60)];

/// The options of the shaping part.
#[derive(Debug, Args)]
pub(crate) struct Shaping {
    /// Fewer devices, shorter
    #[arg(long)]
    quick: bool,
    /// The hub's program, built with --release
    #[arg(long, value_name = "FILE", default_value = "../target/release/kobel")]
    kobel: PathBuf,
    /// Where the table is written to
    #[arg(long, value_name = "FOLDER", default_value = "out")]
    out: PathBuf,
}

/// Measures, prints the tables and writes them to `out/shaping.md`.
pub(crate) fn run(args: &Shaping) -> Result<(), String> {
    let pick = |full, quick| if args.quick { quick } else { full };
    let machine = machine::describe()?;
    let mut text = format!(
        "{machine}.\n\nHub on one core, simulated fleet and viewers on another; CPU is that of the \
         hub's process, in percent of one core.\n\n"
    );
    let devices = pick(2_000, 200);
    eprintln!("shaping: {devices} devices");
    let mut fleet = Fleet::start(&args.kobel)?;
    let before = fleet.taken()?;
    fleet.attach(devices)?;
    text.push_str(&formats(&fleet, devices, pick(15, 5))?);
    text.push_str(&watched(&fleet, devices, before.resident, pick(30, 8))?);
    text.push_str(&tiers(&fleet, pick(60, 10))?);
    drop(fleet);

    let many = pick(20_000, 1_000);
    eprintln!("shaping: {many} devices that nobody watches");
    let mut fleet = Fleet::start(&args.kobel)?;
    let before = fleet.taken()?;
    fleet.attach(many)?;
    // Their inventories are in, and the first half minute is told.
    sleep(Duration::from_secs(pick(45, 5).into()));
    let begun = fleet.taken()?;
    let summaries = fleet.metric("kobel_samples_saved_total");
    sleep(Duration::from_secs(pick(60, 10).into()));
    let ended = fleet.taken()?;
    let spared = fleet.metric("kobel_samples_saved_total").zip(summaries).map(|(b, a)| b - a);
    let _ = write!(
        text,
        "**Unwatched: {many} devices, a summary each half minute**\n\n\
         | CPU | memory a device | samples kept at their source |\n| ---: | ---: | ---: |\n\
         | {:.1} % | {:.1} KB | {:.0} |\n\n",
        begun.percent(ended),
        (ended.resident - before.resident) / f64::from(many) / 1e3,
        spared.unwrap_or_default(),
    );
    std::fs::create_dir_all(&args.out).map_err(|e| format!("{}: {e}", args.out.display()))?;
    let file = args.out.join("shaping.md");
    std::fs::write(&file, &text).map_err(|e| format!("{}: {e}", file.display()))?;
    println!("{text}");
    Ok(())
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_default()
}

/// Bytes of a device and second in the fleet's room, on the wire with all that belongs to it.
fn formats(fleet: &Fleet, devices: u32, seconds: u32) -> Result<String, String> {
    let mut text = "**Fleet's room at 1 s, on the WebSocket**\n\n\
         | format | B/device and second | × below JSON | messages/s | p99 ms |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let mut json = None;
    for (format, name) in FORMATS {
        eprintln!("shaping: {name}");
        let report = fleet.view(1, format, "1", seconds)?;
        let bytes = number(&report, "bytes_per_second") / f64::from(devices);
        let json = *json.get_or_insert(bytes);
        let _ = writeln!(
            text,
            "| {name} | {bytes:.1} | {:.1} | {:.2} | {:.1} |",
            json / bytes,
            number(&report, "messages_per_second"),
            report["latency"]["p99"].as_f64().unwrap_or_default(),
        );
    }
    text.push('\n');
    Ok(text)
}

/// The hub's cost of devices that are watched each second.
fn watched(fleet: &Fleet, devices: u32, before: f64, seconds: u32) -> Result<String, String> {
    let mut text = format!(
        "**Watched: {devices} devices at 1 s, each of two containers**\n\n\
         | viewers | CPU | CPU µs/device and second | memory a device | p99 ms |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
    );
    for (viewers, format) in [(1, "metr2"), (100, "metr2"), (100, "json")] {
        eprintln!("shaping: {viewers} viewers, {format}");
        let report = fleet.view(viewers, format, "1", seconds)?;
        let server = &report["server"];
        let cpu = number(server, "user_seconds") + number(server, "system_seconds");
        let percent = cpu / number(&report, "seconds") * 100.0;
        let memory = (fleet.taken()?.resident - before) / f64::from(devices) / 1e3;
        let _ = writeln!(
            text,
            "| {viewers} of the fleet's room, {format} | {percent:.1} % | {:.1} | {memory:.1} KB | {:.1} |",
            percent * 1e4 / f64::from(devices),
            report["latency"]["p99"].as_f64().unwrap_or_default(),
        );
    }
    text.push('\n');
    Ok(text)
}

/// What tiers save: one viewer of each rate measured, the mix of a hundred worked out of them.
fn tiers(fleet: &Fleet, seconds: u32) -> Result<String, String> {
    let mut mixed = 0.0;
    let mut all = 0.0;
    for (rate, share) in MIX {
        eprintln!("shaping: a viewer at {rate} s");
        let report = fleet.view(1, "metr2", rate, seconds)?;
        let bytes = number(&report, "bytes_per_second");
        if rate == "1" {
            all = bytes;
        }
        mixed += bytes * f64::from(share) / 100.0;
    }
    Ok(format!(
        "**Tiers: 10 % of the viewers active, 30 % idle, 60 % inactive, METR v2**\n\n\
         | all at 1 s | by tiers | saved |\n| ---: | ---: | ---: |\n\
         | {:.0} B/s a viewer | {mixed:.0} B/s | {:.0} % |\n\n",
        all,
        (1.0 - mixed / all) * 100.0,
    ))
}
