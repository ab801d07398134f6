//! Runs the side-by-side table: each server on one core, the clients on another, one setting after
//! the other, and writes what came of it.

mod load;
mod machine;
mod servers;
mod settings;
mod shaping;
mod table;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use servers::Kind;
use settings::{Setting, Size};

/// The side-by-side table of Socket.IO servers.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure and write the table
    Table(Table),
    /// Measure what shaping saves, on a whole hub with a simulated fleet
    Shaping(shaping::Shaping),
    /// The load generator, as the table uses it
    Load(Box<kobel_load::LoadArgs>),
}

#[derive(Debug, Args)]
struct Table {
    /// Fewer connections, one run in place of three, under three minutes
    #[arg(long)]
    quick: bool,
    /// Only these settings
    #[arg(long, value_name = "LETTER", value_delimiter = ',', value_enum)]
    only: Vec<Setting>,
    /// Only these servers
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum)]
    servers: Vec<Kind>,
    /// Runs of each, of which the median counts [default: 3, or 1 with --quick]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: Option<u32>,
    /// Where node/server.js is
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    bench: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Load(args) => match kobel_load::run(*args).await {
            Ok(report) => {
                print!("{report}");
                if report.failed() { Err("connections failed".into()) } else { Ok(()) }
            }
            Err(error) => Err(error.to_string()),
        },
        Command::Table(args) => measure(&args),
        Command::Shaping(args) => shaping::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Table) -> Result<(), String> {
    let begun = Instant::now();
    let size = Size { quick: args.quick };
    let repeat = args.repeat.unwrap_or(if args.quick { 1 } else { 3 });
    let machine = machine::describe()?;
    let out = args.bench.join("out");
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut rows = Vec::new();
    for setting in Setting::value_variants() {
        if !args.only.is_empty() && !args.only.contains(setting) {
            continue;
        }
        for kind in setting.servers(size) {
            if !args.servers.is_empty() && !args.servers.contains(&kind) {
                continue;
            }
            let mut runs = Vec::new();
            for run in 1..=repeat {
                eprintln!(
                    "{setting:?} {} {run}/{repeat}, {} s",
                    kind.name(),
                    begun.elapsed().as_secs()
                );
                match setting.run(kind, size, args) {
                    Ok(found) => runs.push(found),
                    // One server that breaks does not cost the rest of the table.
                    Err(error) => eprintln!("{setting:?} {}: {error}", kind.name()),
                }
            }
            rows.push(table::Row::of(*setting, kind, &runs));
            // What there is by now, in case the rest is cut off.
            table::write(&out, &machine, size, repeat, &rows)?;
        }
    }
    println!("{}", table::text(&machine, size, repeat, &rows));
    eprintln!("{} s; also in {}", begun.elapsed().as_secs(), out.join("results.md").display());
    Ok(())
}

impl Table {
    fn folder(&self) -> &std::path::Path {
        &self.bench
    }
}
