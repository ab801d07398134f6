//! Log lines: for people, or a JSON object a line. To standard error; standard output is for what
//! a command gives.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{ConfigError, LogFormat};

/// Starts logging.
///
/// # Errors
/// When the filter is none.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        ConfigError::Contradiction(format!(
            "log: {filter:?} is no filter ({error}); use info, or info,kobel_collect=debug"
        ))
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let to_stderr = fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(to_stderr.with_ansi(colours)).try_init()
        }
        LogFormat::Json => {
            registry.with(to_stderr.json().flatten_event(true).with_current_span(false)).try_init()
        }
    };
    // Only a second start in one process could fail.
    started.map_err(|error| ConfigError::Contradiction(error.to_string()))
}
