//! What people want to be left out of a host's samples.

use kobel_wire::Sample;

/// Names of what is left out; `*` stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    /// Mount points.
    pub mounts: Vec<String>,
    /// Network interfaces.
    pub interfaces: Vec<String>,
}

impl Ignore {
    /// Takes out what is to be left out; the sums are of what stays.
    pub(super) fn apply(&self, sample: &mut Sample) {
        if !self.mounts.is_empty() {
            sample.mounts.retain(|mount| !any(&self.mounts, &mount.path));
        }
        let before = sample.interfaces.len();
        sample.interfaces.retain(|interface| !any(&self.interfaces, &interface.name));
        if sample.interfaces.len() < before {
            let (into, out) = sample
                .interfaces
                .iter()
                .fold((0.0, 0.0), |(into, out), i| (into + i.received, out + i.sent));
            sample.network_in = sample.network_in.map(|_| into);
            sample.network_out = sample.network_out.map(|_| out);
        }
    }
}

fn any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, name))
}

/// The parts between the stars, each at its first place after the one before; the last one at the end.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (pattern, name, is) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("/mnt/*", "/mnt/nas", true),
            ("/mnt/*", "/mnt", false),
            ("*nas*", "/mnt/nas/x", true),
            ("/a*b*c", "/abxbc", true),
            ("/a*b*c", "/abxbcd", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
    }
}
