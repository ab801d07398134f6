//! The load generator as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use kobel_load::{EXAMPLES, LoadArgs};

/// Loads a Kobel, or any other Socket.IO v5 server, with real clients, and measures what they get
/// and what it costs.
#[derive(Debug, Parser)]
#[command(name = "kobel-load", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match kobel_load::run(Cli::parse().load).await {
        Ok(report) => {
            print!("{report}");
            if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("kobel-load: {error}");
            ExitCode::FAILURE
        }
    }
}
