//! A run's phases: the flags' own one, or those of a scenario's file.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;

use crate::{LoadArgs, LoadError, args::span, plan::Phase};

/// What is done one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) reconnect: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    phase: Vec<FilePhase>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FilePhase {
    name: Option<String>,
    connections: Option<u32>,
    connect_rate: Option<f64>,
    warm_up: Option<String>,
    duration: Option<String>,
    slow_readers: Option<f64>,
    churn: Option<f64>,
    reconnect: Option<bool>,
}

/// The steps of a run.
pub(crate) fn steps(args: &LoadArgs) -> Result<Vec<Step>, LoadError> {
    match &args.scenario {
        None => Ok(vec![own(args)]),
        Some(path) => {
            let wrong = |why| LoadError::Scenario { path: path.clone(), why };
            let text = read(path).map_err(wrong)?;
            parse(&text, args).map_err(wrong)
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| error.to_string())
}

fn own(args: &LoadArgs) -> Step {
    Step {
        name: if args.reconnect { "reconnect".into() } else { "load".into() },
        phase: args.phase(),
        warm_up: args.warm_up,
        duration: args.duration,
        reconnect: args.reconnect,
    }
}

fn parse(text: &str, args: &LoadArgs) -> Result<Vec<Step>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    if file.phase.is_empty() {
        return Err("no [[phase]] in it".into());
    }
    let own = own(args);
    let step = |(index, phase): (usize, FilePhase)| {
        let name = phase.name.unwrap_or_else(|| format!("phase {}", index + 1));
        let wrong = |key: &str, why: &str| format!("phase {name:?}: {key}: {why}");
        let time = |key: &str, given: Option<String>, default| match given {
            None => Ok(default),
            Some(text) => span(&text).map_err(|why| wrong(key, &why)),
        };
        let number = |key: &str, given: Option<f64>, default, most: f64| match given {
            None => Ok(default),
            Some(number) if (0.0..=most).contains(&number) => Ok(number),
            Some(number) => Err(wrong(key, &format!("{number} is not between 0 and {most}"))),
        };
        let connections = phase.connections.unwrap_or(own.phase.connections);
        if !(1..=1_000_000).contains(&connections) {
            return Err(wrong("connections", "not between 1 and 1000000"));
        }
        Ok(Step {
            phase: Phase {
                connections,
                connect_rate: number(
                    "connect-rate",
                    phase.connect_rate,
                    own.phase.connect_rate,
                    1e9,
                )?,
                slow: number("slow-readers", phase.slow_readers, own.phase.slow, 100.0)?,
                churn: number("churn", phase.churn, own.phase.churn, 1e9)?,
            },
            warm_up: time("warm-up", phase.warm_up, own.warm_up)?,
            duration: time("duration", phase.duration, own.duration)?,
            reconnect: phase.reconnect.unwrap_or(own.reconnect),
            name,
        })
    };
    file.phase.into_iter().enumerate().map(step).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn read(text: &str) -> Result<Vec<Step>, String> {
        parse(text, &Cli::parse_from(["load", "--connections", "7", "--churn", "2"]).load)
    }

    #[test]
    fn flags_say_what_a_phase_does_not() {
        let steps = read(
            "[[phase]]\nduration = \"1m\"\n[[phase]]\nname = \"b\"\nchurn = 3\nreconnect = true",
        )
        .unwrap();
        assert_eq!(steps[0].name, "phase 1");
        assert_eq!(steps[0].duration, Duration::from_secs(60));
        assert_eq!((steps[0].phase.connections, steps[0].phase.churn), (7, 2.0));
        assert_eq!(
            (steps[1].name.as_str(), steps[1].phase.churn, steps[1].reconnect),
            ("b", 3.0, true)
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("", "phase"),
            ("phase = []", "no [[phase]]"),
            ("[[phase]]\nconection = 1", "conection"),
            ("[[phase]]\nconnections = 0", "connections"),
            ("[[phase]]\nname = \"x\"\nduration = \"soon\"", "phase \"x\": duration"),
            ("[[phase]]\nslow-readers = 101", "slow-readers"),
            ("[[phase]]\nchurn = -1", "churn"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
