//! What `deploy/` says fits together, and names only options that there are.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::{Command, CommandFactory};
use serde_json::Value;

use crate::cli::Cli;

fn root() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../..").into()
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(file: &str) -> Vec<Value> {
    let text = text(file);
    let parse = |part: &str| {
        serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{file}: {error}\n{part}"))
    };
    text.split("\n---\n").map(parse).collect()
}

fn variables(command: &Command, into: &mut BTreeSet<String>) {
    let own = command.get_arguments().filter_map(|arg| arg.get_env());
    into.extend(own.map(|name| name.to_string_lossy().into_owned()));
    for below in command.get_subcommands() {
        variables(below, into);
    }
}

#[test]
fn every_variable_is_an_option() {
    let mut known = BTreeSet::new();
    variables(&Cli::command(), &mut known);
    let files = fs::read_dir(root().join("deploy")).unwrap().flatten();
    let mut files: Vec<_> =
        files.map(|file| format!("deploy/{}", file.file_name().to_string_lossy())).collect();
    files.push("docs/cluster.md".into());
    let mut named = 0;
    for file in files {
        let text = text(&file);
        let word = |c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_';
        for name in text.split(word).filter(|word| word.starts_with("KOBEL_")) {
            // `KOBEL_…` stands for all of them; the cookie of the proxy is none.
            if !matches!(name, "KOBEL_" | "KOBEL_NODE") {
                assert!(known.contains(name), "{file}: {name} is no option");
                named += 1;
            }
        }
    }
    assert!(named > 20);
}

#[test]
fn the_manifest_fits_together() {
    let documents = yaml("deploy/kubernetes.yaml");
    let of = |kind: &str, name: &str| {
        let found = documents.iter().find(|d| d["kind"] == kind && d["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}")).clone()
    };
    for document in &documents {
        assert!(document["apiVersion"].is_string(), "{document}");
    }
    let set = of("StatefulSet", "kobel")["spec"].clone();
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    assert_eq!(&of("PodDisruptionBudget", "kobel")["spec"]["selector"]["matchLabels"], labels);
    let nodes = of("Service", set["serviceName"].as_str().unwrap());
    assert_eq!(nodes["spec"]["clusterIP"], "None");
    for service in [&nodes, &of("Service", "kobel")] {
        assert_eq!(&service["spec"]["selector"], labels);
    }
    let pod = &set["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
    }
    let names = |of: &Value| -> BTreeSet<String> {
        let named = of.as_array().into_iter().flatten();
        let name = |item: &Value| {
            item["name"].as_str().or(item["metadata"]["name"].as_str()).map(str::to_owned)
        };
        named.filter_map(name).collect()
    };
    let mut volumes = names(&pod["volumes"]);
    volumes.extend(names(&set["volumeClaimTemplates"]));
    assert_eq!(names(&container["volumeMounts"]), volumes);
    // What the container has is what the pod's node is called by others.
    let env = container["env"].as_array().unwrap();
    let url = env.iter().find(|variable| variable["name"] == "KOBEL_NODE_URL").unwrap();
    let url = url["value"].as_str().unwrap();
    let port = &nodes["spec"]["ports"][0]["port"];
    assert_eq!(
        url,
        format!("http://$(KOBEL_NODE_NAME).{}:{port}", set["serviceName"].as_str().unwrap())
    );
}

#[test]
fn the_compose_file_fits_together() {
    let [compose] = yaml("deploy/compose.yaml").try_into().unwrap();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        let mounts = service["volumes"].as_array().into_iter().flatten();
        for mount in mounts.filter_map(Value::as_str) {
            let from = mount.split(':').next().unwrap();
            let here = from.strip_prefix("./");
            let there = here.map_or_else(
                || compose["volumes"].get(from).is_some(),
                |file| root().join("deploy").join(file).exists(),
            );
            assert!(there, "{name}: {mount}");
        }
    }
    let proxy = text("deploy/haproxy.cfg");
    for node in ["node-a", "node-b"] {
        let service = &services[node];
        assert_eq!(service["build"]["dockerfile"], "deploy/Dockerfile");
        assert_eq!(service["environment"]["ENABLE_CLUSTERING"], "true");
        let url = service["environment"]["KOBEL_NODE_URL"].as_str().unwrap();
        assert_eq!(url, format!("http://{node}:8000"));
        assert!(proxy.contains(&format!("{node}:8000")));
        for needed in service["depends_on"].as_object().unwrap().keys() {
            assert!(services.contains_key(needed), "{needed}");
        }
        let trusted = &service["environment"]["KOBEL_TRUSTED_PROXIES"];
        assert_eq!(trusted, &compose["networks"]["default"]["ipam"]["config"][0]["subnet"]);
    }
}

#[test]
fn the_image_is_built_of_what_there_is() {
    let text = text("deploy/Dockerfile");
    let manifest = self::text("Cargo.toml");
    let needed = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let rust = format!("FROM rust:{}-", needed.unwrap().trim_matches('"'));
    assert!(text.contains(&rust), "the image is built with another Rust than {rust}");
    let ignored = self::text("deploy/Dockerfile.dockerignore");
    for line in text.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let mut words: Vec<_> = line.split_whitespace().skip(1).collect();
        words.pop();
        for word in words {
            assert!(root().join(word).exists(), "{line}");
            let top = word.split('/').next().unwrap();
            assert!(ignored.lines().any(|line| line == format!("!{top}")), "{line}");
        }
    }
    let (_, last) = text.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("scratch\n") && last.contains("\nUSER 65532:65532\n"));
}
