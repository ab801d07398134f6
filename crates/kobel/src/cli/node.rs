//! `kobel node`
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use clap::{Args, Subcommand};
use http::Method;
use kobel_wire::{Role, Timestamp};
use serde_json::Value;

use super::{
    CliError,
    api::{Api, Which, encode},
    table::table,
};
use crate::config::Common;

const LIST_EXAMPLES: &str = "\
Examples:
  kobel node list
      the nodes of the hub that runs on this machine
  kobel node list --hub https://kobel.example.com --token \"$TOKEN\" --json
      of another, for a program";

const DRAIN_EXAMPLES: &str = "\
Examples:
  kobel node drain && systemctl stop kobel
      before an upgrade: other nodes have its devices before it ends. A stop by itself does the same
  kobel node drain 8kteh75s
      another node, as the list names it
  kobel node resume
      it takes devices again";

/// What can be done with nodes.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the nodes
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Have a node give its devices up to others and say that it is not ready, so that balancers send
    /// nobody there; who looks at it stays
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Set),
    /// Have a node that was drained take devices and viewers again
    Resume(Set),
}

/// Options of `kobel node list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// JSON, with all that is known of each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

/// Options of `kobel node drain` and `kobel node resume`.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// The node, as kobel node list names it [default: the one that is asked]
    #[arg(value_name = "NODE", default_value = "self", hide_default_value = true)]
    node: String,

    #[command(flatten)]
    which: Which,
}

impl Command {
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (which, set) = match &self {
            Self::List(list) => (&list.which, None),
            Self::Drain(set) => (&set.which, Some((&set.node, true))),
            Self::Resume(set) => (&set.which, Some((&set.node, false))),
        };
        let api = Api::attach_as(which, common, ("node", Role::Admin)).await?;
        let answer = match set {
            None => api.json(Method::GET, "/api/v1/nodes", "").await,
            Some((node, draining)) => {
                let change = serde_json::json!({ "draining": draining }).to_string();
                api.json(Method::PUT, &format!("/api/v1/nodes/{}", encode(node)), change).await
            }
        };
        api.close().await;
        let answer = answer?;
        match self {
            Self::List(List { json: true, .. }) => println!("{answer}"),
            _ if answer["node"].is_null() => println!("This hub is alone: there are no nodes."),
            _ => print(&answer),
        }
        Ok(())
    }
}

fn print(answer: &Value) {
    let now = Timestamp::now().as_millis();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let mut rows = Vec::new();
    for node in answer["nodes"].as_array().into_iter().flatten() {
        let own = node["node"] == answer["node"];
        let up = now.saturating_sub(node["startedAt"].as_i64().unwrap_or(now)) / 1_000;
        let state = if node["draining"] == true { "draining" } else { "ready" };
        rows.push([
            format!("{}{}", text(&node["node"]), if own { " *" } else { "" }),
            text(&node["name"]),
            text(&node["version"]),
            text(&node["url"]),
            span(up),
            text(&node["devices"]),
            text(&node["connections"]),
            format!("{:.1} ms", node["redisUs"].as_f64().unwrap_or(0.0) / 1e3),
            state.into(),
        ]);
    }
    let head = ["NODE", "NAME", "VERSION", "URL", "UP", "DEVICES", "VIEWERS", "REDIS", "STATE"];
    print!("{}", table(head, &rows));
    if answer["isConnected"] == false {
        println!("\nThis node does not reach Redis: what it says of the others is old.");
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
