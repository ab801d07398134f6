//! `kobel logs`
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use std::io::{self, BufWriter, IsTerminal, Write, stdout};

use clap::Args;
use serde_json::Value;

use super::{
    CliError,
    api::{Api, Which},
};
use crate::{config::Common, serve::Signals};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
What the hub has stored, of containers that are gone, too. On a terminal control characters are left
out; into a file or a pipe lines go as they came.

Examples:
  kobel logs web
      the last 100 lines of the container web, on whichever device it runs
  kobel logs -f 'shop-*'
      of all whose name begins so, and what comes from now on
  kobel logs --since 10m --grep 'timeout|refused' web db
      of two containers, what matches of the last ten minutes
  kobel logs --since 2026-11-18T11:00:00Z --json web > web.ndjson
      into a file, with levels and fields";

/// Lines where nobody says how many.
const TAIL: u32 = 100;

/// Options of `kobel logs`.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Whose lines: a name, the begin of an id, or a name with * for anything [repeatable]
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,

    /// From when on: how long ago, such as 10m, or a time such as 2026-11-18T11:06:40Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// The newest lines, so many [default: 100, or with --since all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    tail: Option<u32>,

    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,

    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,

    /// Lines of JSON, with all that is known of each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

impl Logs {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let mut parameters: Vec<_> =
            self.containers.iter().map(|name| ("container", name.clone())).collect();
        if let Some(since) = &self.since {
            parameters.push(("from", since.clone()));
        }
        if let Some(pattern) = &self.grep {
            parameters.push(("q", format!("/{}/", pattern.replace('/', "\\/"))));
        }
        // The newest come newest first, and are turned around.
        let tail = match (self.tail, &self.since) {
            (None, Some(_)) => None,
            (tail, _) => Some(tail.unwrap_or(TAIL)),
        };
        let turned = tail.is_some() && !self.follow;
        if let Some(tail) = tail {
            parameters.push(("limit", tail.to_string()));
        }
        parameters.push(("order", if turned { "newest" } else { "oldest" }.into()));
        if self.follow {
            parameters.push(("follow", "true".into()));
        }
        let many = self.containers.len() > 1 || self.containers[0].contains('*');
        let style = Style::new(self.json, self.timestamps, many);
        print(&self.which, common, &parameters, &style, turned).await
    }
}

/// How lines are written.
pub(super) struct Style {
    json: bool,
    timestamps: bool,
    names: bool,
    terminal: bool,
}

impl Style {
    pub(super) fn new(json: bool, timestamps: bool, names: bool) -> Self {
        Self { json, timestamps, names, terminal: stdout().is_terminal() }
    }

    fn write(&self, out: &mut impl Write, line: &Value) -> io::Result<()> {
        if self.json {
            return writeln!(out, "{line}");
        }
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        if self.timestamps {
            write!(out, "{} ", text("timestamp").unwrap_or_default())?;
        }
        if self.names {
            write!(out, "{} | ", plain(text("name").unwrap_or_default()))?;
        }
        let message = text("message").unwrap_or_default();
        if text("marker").is_some() {
            return writeln!(out, "--- {}", plain(message));
        }
        let raw = text("raw").unwrap_or(message);
        // What a line holds may not steer the terminal.
        if self.terminal { writeln!(out, "{}", plain(raw)) } else { writeln!(out, "{raw}") }
    }
}

/// Without escape sequences and other control characters.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' | '\t' => out.push(letter),
            // A sequence of ECMA-48, to its final byte.
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                while letters.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                letters.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            _ if letter.is_control() => {}
            _ => out.push(letter),
        }
    }
    out
}

/// Asks, and writes what comes until the end or a signal.
pub(super) async fn print(
    which: &Which,
    common: &Common,
    parameters: &[(&str, String)],
    style: &Style,
    turned: bool,
) -> Result<(), CliError> {
    let mut signals = Signals::new().map_err(CliError::Signals)?;
    let api = Api::attach(which, common).await?;
    let printed = tokio::select! {
        printed = write_all(&api, parameters, style, turned) => printed,
        _ = signals.next() => Ok(()),
    };
    api.close().await;
    printed
}

async fn write_all(
    api: &Api,
    parameters: &[(&str, String)],
    style: &Style,
    turned: bool,
) -> Result<(), CliError> {
    let mut lines = api.lines("/api/v1/logs/search", parameters).await?;
    let (mut held, mut any) = (Vec::new(), false);
    while let Some(line) = lines.next().await? {
        if let Some(error) = line.pointer("/error/message").and_then(Value::as_str) {
            return Err(super::api::ApiError::Refused(error.to_owned()).into());
        }
        any = true;
        if turned {
            held.push(line);
        } else if !written(style, &[line]) {
            return Ok(());
        }
    }
    held.reverse();
    written(style, &held);
    if !any {
        eprintln!("The hub has stored no such lines.");
    }
    Ok(())
}

/// Whether somebody still reads.
fn written(style: &Style, lines: &[Value]) -> bool {
    let mut out = BufWriter::new(stdout().lock());
    lines.iter().try_for_each(|line| style.write(&mut out, line)).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_does_not_steer_the_terminal() {
        for (text, wanted) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("a\tb\nc\r\u{8}\u{9b}2J", "a\tb\nc2J"),
            ("\u{1b}[", ""),
            ("grün", "grün"),
        ] {
            assert_eq!(plain(text), wanted);
        }
        let line = serde_json::json!({ "timestamp": "T", "name": "we\u{1b}[2Jb", "message": "hi" });
        let mut out = Vec::new();
        let style = Style { json: false, timestamps: true, names: true, terminal: true };
        style.write(&mut out, &line).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "T web | hi\n");
    }
}
