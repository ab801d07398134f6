//! Kobel, a real-time monitoring hub: the command line, the HTTP side, and the wiring of the
//! crates that do the work.
//!
//! Start reading at [`serve`], which puts the parts together and takes them apart again.

mod cli;
mod config;
mod data_folder;
mod devices;
mod http;
mod logging;
mod metrics;
mod serve;
mod sign_in;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::from_command_line() {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("kobel: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kobel: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kobel: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}
