//! Network traffic: /proc/net/dev.

use procfs_core::{FromBufRead, net::InterfaceDeviceStatus};

use crate::text::clean;

/// The most interfaces that are kept.
const MAX_INTERFACES: usize = 256;

/// Bytes that an interface moved since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

/// Interfaces whose bytes another interface counts as well, as /sys/class/net tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkRoles {
    /// Slaves of a bond (`*/bonding/slaves`): the bond counts them.
    pub bond_slaves: Vec<String>,
    /// Bridges (`*/bridge`): their ports count them.
    pub bridges: Vec<String>,
}

impl NetworkRoles {
    /// Adds the slaves of one bond: the text of its `bonding/slaves`.
    pub fn add_bond(&mut self, slaves: &str) {
        let names = slaves.split_whitespace().take(MAX_INTERFACES).map(str::to_owned);
        self.bond_slaves.extend(names);
    }
}

/// The interfaces in /proc/net/dev that count, in the kernel's order.
///
/// Left out is what never leaves the host or is counted elsewhere already: loopback, the virtual
/// ends of containers and guests with their bridges, tunnels, VLANs on a listed interface, and the
/// given roles.
pub fn parse(net_dev: &str, roles: &NetworkRoles) -> Vec<InterfaceCounters> {
    // Two lines of headings.
    let all: Vec<_> = net_dev.lines().skip(2).take(4096).filter_map(line).collect();
    let is_vlan = |name: &str| {
        let below = name.rsplit_once('.').map(|(below, _)| below);
        below.is_some_and(|below| all.iter().any(|other| other.name == below))
    };
    let counts = |name: &String| {
        !is_virtual(name)
            && !is_vlan(name)
            && !roles.bond_slaves.contains(name)
            && !roles.bridges.contains(name)
    };
    let kept = all.iter().filter(|interface| counts(&interface.name)).take(MAX_INTERFACES);
    kept.cloned().collect()
}

fn line(line: &str) -> Option<InterfaceCounters> {
    // Line by line, since one bad line would lose the whole, and split here, since kernels before
    // 2.6.30 print no space between the colon and a long number.
    let (name, figures) = line.split_once(':')?;
    let name = name.trim();
    let one = format!("\n\n{name}: {figures}\n");
    let parsed = InterfaceDeviceStatus::from_buf_read(one.as_bytes()).ok()?;
    let status = parsed.0.into_values().next()?;
    Some(InterfaceCounters {
        name: clean(name, 32),
        received: status.recv_bytes,
        sent: status.sent_bytes,
    })
}

fn is_virtual(name: &str) -> bool {
    const PREFIXES: [&str; 24] = [
        "veth",
        "br-",
        "docker",
        "cni",
        "virbr",
        "vnet",
        "flannel",
        "cali",
        "cilium",
        "lxc",
        "lxd",
        "podman",
        "tap",
        "tun",
        "wg",
        "tailscale",
        "dummy",
        "ifb",
        "kube-",
        "nodelocaldns",
        "sit",
        "gre",
        "ip6tnl",
        "weave",
    ];
    name == "lo" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn names(listed: &[&str], roles: &NetworkRoles) -> Vec<String> {
        let lines: String =
            listed.iter().map(|n| format!("{n}: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n")).collect();
        parse(&format!("{HEAD}{lines}"), roles).into_iter().map(|i| i.name).collect()
    }

    #[test]
    fn each_byte_counts_once() {
        let none = NetworkRoles::default();
        let mut bonded = NetworkRoles::default();
        bonded.add_bond("eth0 eth1\n");
        bonded.bridges.push("vmbr0".into());
        for (listed, roles, counted) in [
            (&["lo", "eth0", "docker0", "veth12ab", "br-0a1b", "cni0"][..], &none, &["eth0"][..]),
            (&["eth0", "wlan0", "virbr0", "tap3", "podman1", "cali99"], &none, &["eth0", "wlan0"]),
            (&["eth0", "eth1", "bond0", "vmbr0"], &bonded, &["bond0"]),
            (&["eth0", "eth0.10", "lan.5", "bridge0"], &none, &["eth0", "lan.5", "bridge0"]),
        ] {
            assert_eq!(names(listed, roles), counted, "{listed:?}");
        }
    }

    #[test]
    fn reads_numbers_that_touch_the_colon() {
        let text = format!("{HEAD}  eth0:123456 1 0 0 0 0 0 0 654321 1 0 0 0 0 0 0\n");
        let read = parse(&text, &NetworkRoles::default());
        assert_eq!(
            read,
            [InterfaceCounters { name: "eth0".into(), received: 123_456, sent: 654_321 }]
        );
    }

    #[test]
    fn a_bad_line_is_skipped() {
        let text =
            format!("{HEAD}eth0: 1 2\n\nnonsense\n: :\neth1: 5 0 0 0 0 0 0 0 6 0 0 0 0 0 0 0\n");
        assert_eq!(parse(&text, &NetworkRoles::default()).len(), 1);
    }
}
