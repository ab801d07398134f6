//! `kobel search`
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use clap::Args;

use super::{
    CliError,
    api::Which,
    logs::{Style, print},
};
use crate::config::Common;

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
A query is made of terms that all must hold:
  word, wor*           has this word, or one that begins so; in any case
  \"some words\"         has these in a row
  /regex/, /regex/i    matches; with i in any case
  level>=warn          is at least so grave
  name=value           has a field of a JSON or logfmt line, written so
  container=web-*      device=, project=, service=, stream=stderr: whose it is
  -term                does not

Examples:
  kobel search timeout --since 1h
      every line with this word, on all devices, the newest first
  kobel search 'level>=error container=web-* -healthcheck' --limit 20
      errors of some containers
  kobel search 'status=500 /user=(7|9)\\b/' --json
      by a field and a regular expression, with all that is known of each line";

/// Options of `kobel search`.
#[derive(Debug, Args)]
pub(super) struct Search {
    /// What to look for; several are one. After -- if it begins with a -
    #[arg(required = true, value_name = "QUERY")]
    query: Vec<String>,

    /// From when on: how long ago, such as 1h, or a time such as 2026-11-18T11:06:40Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Until when
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// The most lines
    #[arg(long, value_name = "COUNT", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Lines of JSON, with all that is known of each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

impl Search {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let mut parameters = vec![("q", self.query.join(" ")), ("limit", self.limit.to_string())];
        parameters.extend(self.since.map(|since| ("from", since)));
        parameters.extend(self.until.map(|until| ("to", until)));
        print(&self.which, common, &parameters, &Style::new(self.json, true, true), false).await
    }
}
