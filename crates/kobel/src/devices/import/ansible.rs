//! Inventories of Ansible, INI and YAML: hosts, groups, their children and variables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Defaults, Found, Host, MOST};

/// Groups of groups, at most.
const DEPTH: usize = 32;

type Vars = BTreeMap<String, String>;

/// An inventory, whichever way it was written.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    groups: BTreeMap<String, Group>,
    /// In the order of the text: where it stands, and its own variables.
    hosts: Vec<(String, Option<usize>, Vars)>,
    places: BTreeMap<String, usize>,
}

#[derive(Debug, Default)]
struct Group {
    hosts: Vec<String>,
    children: Vec<String>,
    vars: Vars,
}

impl Inventory {
    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    fn host(&mut self, group: &str, name: &str, line: Option<usize>, vars: Vars) {
        let listed = &mut self.group(group).hosts;
        if !listed.iter().any(|known| known == name) {
            listed.push(name.to_owned());
        }
        let place = *self.places.entry(name.to_owned()).or_insert_with(|| {
            self.hosts.push((name.to_owned(), line, Vars::new()));
            self.hosts.len() - 1
        });
        self.hosts[place].2.extend(vars);
    }

    /// The groups of a host, its own first, then theirs.
    fn groups_of(&self, host: &str) -> Vec<&str> {
        let mut found: Vec<&str> = self
            .groups
            .iter()
            .filter(|(_, group)| group.hosts.iter().any(|known| known == host))
            .map(|(name, _)| name.as_str())
            .collect();
        let mut from = 0;
        for _ in 0..DEPTH {
            let until = found.len();
            let parents: BTreeSet<&str> = self
                .groups
                .iter()
                .filter(|(_, group)| {
                    group.children.iter().any(|child| found[from..until].contains(&child.as_str()))
                })
                .map(|(name, _)| name.as_str())
                .filter(|name| !found.contains(name))
                .collect();
            if parents.is_empty() {
                break;
            }
            found.extend(parents);
            from = until;
        }
        found
    }

    /// What can be taken of it.
    pub(super) fn found(&self, defaults: &Defaults) -> Found {
        let mut found = Found::default();
        for (name, line, own) in &self.hosts {
            let groups = self.groups_of(name);
            let var = |words: &[&str]| -> Option<&String> {
                words.iter().find_map(|word| own.get(*word)).or_else(|| {
                    groups
                        .iter()
                        .chain([&"all"])
                        .filter_map(|group| self.groups.get(*group))
                        .find_map(|group| words.iter().find_map(|word| group.vars.get(*word)))
                })
            };
            let asked: [&[&str]; 6] = [
                &["ansible_host", "ansible_ssh_host"],
                &["ansible_port", "ansible_ssh_port"],
                &["ansible_user", "ansible_ssh_user"],
                &["ansible_ssh_private_key_file", "ansible_private_key_file"],
                &["ansible_connection"],
                &["ansible_password", "ansible_ssh_pass"],
            ];
            let values = asked.map(var);
            if values[..5].iter().flatten().any(|value| value.contains("{{")) {
                let reason = "a template ({{ … }}) stands where its address or user should be";
                found.leave(*line, name, reason);
                continue;
            }
            let [host, port, user, file, connection, password] = values;
            if let Some(connection) = connection
                && !["ssh", "smart", "paramiko", "paramiko_ssh"].contains(&connection.as_str())
            {
                found.leave(*line, name, format!("ansible_connection={connection} is not SSH"));
                continue;
            }
            let port = match port.map(|port| port.parse::<u16>()) {
                Some(Err(_)) => {
                    found.leave(*line, name, "ansible_port is no port");
                    continue;
                }
                port => port.and_then(Result::ok),
            };
            let mut remarks = Vec::new();
            if password.is_some() {
                let remark = "its password is left out: set it by kobel device edit --ask-password";
                remarks.push(remark.to_owned());
            }
            let own_groups: Vec<_> = groups
                .iter()
                .filter(|group| !["all", "ungrouped"].contains(*group))
                .map(|group| (*group).to_owned())
                .collect();
            let host = Host {
                line: *line,
                name: name.clone(),
                host: host.unwrap_or(name).clone(),
                port,
                user: user.cloned(),
                identity_file: file.cloned(),
                group: own_groups.first().cloned(),
                tags: own_groups,
                remarks,
                ..Host::default()
            };
            found.add(host, defaults);
        }
        found
    }
}

/// The INI form.
pub(super) fn ini(text: &str) -> Result<Inventory, String> {
    let mut inventory = Inventory::default();
    let mut section = ("ungrouped".to_owned(), Section::Hosts);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let wrong = |why: &str| format!("text: line {}: {why}", number + 1);
        if let Some(head) = line.strip_prefix('[') {
            let (head, _) = head.split_once(']').ok_or_else(|| wrong("a '[' without its ']'"))?;
            section = match head.split_once(':') {
                None => (head.to_owned(), Section::Hosts),
                Some((name, "children")) => (name.to_owned(), Section::Children),
                Some((name, "vars")) => (name.to_owned(), Section::Vars),
                Some(_) => return Err(wrong("expected [group], [group:children] or [group:vars]")),
            };
            inventory.group(&section.0);
            continue;
        }
        let (name, kind) = &section;
        match kind {
            Section::Children => inventory.group(name).children.push(first(line).to_owned()),
            Section::Vars => {
                let (key, value) =
                    line.split_once('=').ok_or_else(|| wrong("expected name=value"))?;
                let value = unquoted(value.trim()).to_owned();
                inventory.group(name).vars.insert(key.trim().to_owned(), value);
            }
            Section::Hosts => {
                let mut words = shell_words(line).into_iter();
                let Some(pattern) = words.next() else { continue };
                let vars: Vars = words
                    .filter_map(|word| {
                        let (key, value) = word.split_once('=')?;
                        Some((key.to_owned(), value.to_owned()))
                    })
                    .collect();
                for host in expanded(&pattern).map_err(|why| wrong(&why))? {
                    if inventory.hosts.len() >= MOST {
                        return Err(wrong(&format!("more than {MOST} hosts")));
                    }
                    // host:port, where the name has no other colon.
                    let (host, mut vars) = (host.as_str(), vars.clone());
                    let host = match host.split_once(':') {
                        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
                            vars.entry("ansible_port".into()).or_insert_with(|| port.to_owned());
                            name
                        }
                        _ => host,
                    };
                    inventory.host(name, host, Some(number + 1), vars);
                }
            }
        }
    }
    Ok(inventory)
}

#[derive(Clone, Copy)]
enum Section {
    Hosts,
    Children,
    Vars,
}

fn first(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

fn unquoted(text: &str) -> &str {
    let quoted = |q| text.strip_prefix(q).and_then(|text| text.strip_suffix(q));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(text)
}

/// Words; quotes may stand around a part with spaces. A comment ends them.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => (quote, any) = (Some(c), true),
            (None, '#') if word.is_empty() && !any => break,
            (None, c) if c.is_whitespace() => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (_, c) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// `web[01:20].example`, `db-[a:f]`: one range.
fn expanded(pattern: &str) -> Result<Vec<String>, String> {
    let range = pattern.split_once('[').and_then(|(head, rest)| {
        let (range, tail) = rest.split_once(']')?;
        Some((head, range.split_once(':')?, tail))
    });
    let Some((head, (from, to), tail)) = range else { return Ok(vec![pattern.to_owned()]) };
    let wrong = || format!("the range [{from}:{to}] is none");
    let middle: Vec<String> = match (from.parse::<u32>(), to.split(':').next().unwrap_or(to)) {
        (Ok(first), to) => {
            let last: u32 = to.parse().map_err(|_| wrong())?;
            if last < first || (last - first) as usize >= MOST {
                return Err(wrong());
            }
            let width = from.len();
            (first..=last).map(|n| format!("{n:0width$}")).collect()
        }
        (Err(_), to) => {
            let letter = |text: &str| match text.as_bytes() {
                [letter] if letter.is_ascii_alphabetic() => Some(*letter),
                _ => None,
            };
            let (Some(first), Some(last)) = (letter(from), letter(to)) else {
                return Err(wrong());
            };
            (first..=last).map(|letter| char::from(letter).to_string()).collect()
        }
    };
    Ok(middle.into_iter().map(|middle| format!("{head}{middle}{tail}")).collect())
}

/// The YAML form.
pub(super) fn yaml(text: &str) -> Result<Inventory, String> {
    // Its limits on depth, aliases and nodes are the library's own.
    let whole: Option<Map<String, Value>> = serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        format!("text: {}", error.lines().next().unwrap_or_default())
    })?;
    let mut inventory = Inventory::default();
    for (name, group) in whole.unwrap_or_default() {
        read_group(&mut inventory, &name, &group, 0)?;
    }
    Ok(inventory)
}

fn read_group(
    inventory: &mut Inventory,
    name: &str,
    group: &Value,
    depth: usize,
) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("text: groups of groups, more than {DEPTH} deep"));
    }
    inventory.group(name);
    let Value::Object(group) = group else {
        return if group.is_null() {
            Ok(())
        } else {
            Err(format!("text: the group {name}: expected hosts, children and vars"))
        };
    };
    let inside = |key: &str| -> Result<Map<String, Value>, String> {
        match group.get(key) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(inside)) => Ok(inside.clone()),
            Some(_) => Err(format!("text: {key} of the group {name}: expected names with a ':'")),
        }
    };
    let vars = texts(&inside("vars")?);
    inventory.group(name).vars.extend(vars);
    for (pattern, vars) in inside("hosts")? {
        let vars = vars.as_object().map(texts).unwrap_or_default();
        for host in expanded(&pattern).map_err(|why| format!("text: {why}"))? {
            if inventory.hosts.len() >= MOST {
                return Err(format!("text: more than {MOST} hosts"));
            }
            inventory.host(name, &host, None, vars.clone());
        }
    }
    for (child, group) in inside("children")? {
        inventory.group(name).children.push(child.clone());
        read_group(inventory, &child, &group, depth + 1)?;
    }
    Ok(())
}

fn texts(vars: &Map<String, Value>) -> Vars {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    };
    vars.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}
