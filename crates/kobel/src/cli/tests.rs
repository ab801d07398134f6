//! The command line holds together, and its reference page says what is true.

mod deploy;

use clap::{Command as ClapCommand, CommandFactory};

use super::Cli;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// `docs/configuration.md` is made from the options themselves. `KOBEL_WRITE_DOCS=1` writes it.
#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let now = reference();
    if std::env::var_os("KOBEL_WRITE_DOCS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == now, "docs/configuration.md is old; run this test with KOBEL_WRITE_DOCS=1");
}

fn reference() -> String {
    let mut command = Cli::command();
    command.build();
    let serve = command.find_subcommand("serve").unwrap();
    // Those of every command first.
    let mut rows = rows(&command, &[]);
    rows.extend(self::rows(serve, &rows));
    let page = String::from(
        "# Configuration\n\n\
         Options of `kobel serve`. A flag wins over a variable, a variable over `kobel.toml`.\n\
         Keys of the file are the names of the flags; the lists are `trusted-proxies`,\n\
         `allowed-hosts` and `allowed-origins`. Times are written as `25s`, `1m 30s`, `12h` or `30d`.\n\n\
         | flag | variable | what |\n| --- | --- | --- |\n",
    );
    let file_only = "\n## Tables of the file\n\n\
         `[[logs.redact]]`, once for each rule: what is masked in log lines of containers beside the\n\
         rules of `log-redact`, see [logs.md](logs.md#what-is-masked).\n\n\
         | key | what |\n| --- | --- |\n\
         | `name` | what you call the rule |\n\
         | `regex` | what to look for, in the syntax of the [regex crate](https://docs.rs/regex/latest/regex/#syntax) |\n\
         | `mask` | what stands there instead; `${1}` is what the first group matched [default: ***] |\n";
    page + &rows.concat() + file_only
}

fn rows(command: &ClapCommand, known: &[String]) -> Vec<String> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_env().is_some())
        .map(|arg| {
            let flag = arg.get_long().unwrap_or_default();
            let value = arg.get_value_names().map_or("", |names| names[0].as_str());
            let variable = arg.get_env().unwrap_or_default().to_string_lossy();
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("| `--{flag} {value}` | `{variable}` | {help} |\n")
        })
        .filter(|row| !known.contains(row))
        .collect()
}
