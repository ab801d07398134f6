//! Who owns what: the rules, without I/O and clock.

use std::collections::BTreeMap;

use kobel_wire::{DeviceUuid, SourceKind};

use super::{MemberInfo, NodeId};

/// Who may own a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eligible {
    /// Any node: it is dialled.
    Any,
    /// The nodes on this machine: those whose own device it is.
    Machine(DeviceUuid),
    /// The node that its agent has a link to.
    Link,
}

impl Eligible {
    /// Of a device that is read so.
    pub fn of(source: SourceKind, device: DeviceUuid) -> Self {
        match source {
            SourceKind::Ssh => Self::Any,
            SourceKind::Local => Self::Machine(device),
            SourceKind::Agent | SourceKind::Simulated => Self::Link,
        }
    }

    fn allows(&self, info: &MemberInfo) -> bool {
        match self {
            Self::Any => true,
            Self::Machine(machine) => info.machine == *machine,
            Self::Link => false,
        }
    }
}

/// Who is written down as the owner of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// By which token.
    pub token: String,
}

/// Who is to own a device: of the nodes that live, are not about to leave and may, the one with the
/// highest weight for it. So a node that comes or goes moves its own share of the devices only.
/// Rendezvous hashing; every version must hash alike.
pub fn desired<'a>(
    device: DeviceUuid,
    eligible: &Eligible,
    roll: &'a BTreeMap<NodeId, MemberInfo>,
) -> Option<&'a NodeId> {
    roll.iter()
        .filter(|(_, info)| !info.draining && eligible.allows(info))
        .map(|(node, _)| node)
        .max_by_key(|node| (weight(device, node), *node))
}

/// FNV-1a over both names, mixed by the finalizer of SplitMix64.
fn weight(device: DeviceUuid, node: &NodeId) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let device = device.to_string();
    for byte in device.bytes().chain([0]).chain(node.as_str().bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// What is to be done about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Take it, in the place of who stands there by this token (empty: nobody).
    Claim(String),
    /// Give it up to another node.
    HandTo(NodeId),
}

/// What this node does about a device, where `standing` is written down.
pub(super) fn step(
    me: &NodeId,
    device: DeviceUuid,
    eligible: &Eligible,
    standing: Option<&Standing>,
    roll: &BTreeMap<NodeId, MemberInfo>,
) -> Step {
    let desired = desired(device, eligible, roll);
    match standing {
        Some(standing) if standing.node == *me => match desired {
            Some(other) if other != me => Step::HandTo(other.clone()),
            // With nobody else there the last one keeps it, also when it is about to leave.
            _ => Step::Rest,
        },
        // Who lives gives it up by itself.
        Some(standing) if roll.contains_key(&standing.node) => Step::Rest,
        standing if desired == Some(me) => {
            Step::Claim(standing.map_or_else(String::new, |standing| standing.token.clone()))
        }
        _ => Step::Rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roll(nodes: &[&str], draining: &[&str]) -> BTreeMap<NodeId, MemberInfo> {
        let info = |node: &str| MemberInfo {
            name: node.into(),
            version: "1".into(),
            url: "http://[::1]:1".into(),
            started_at: 0,
            machine: device(u128::from(node.as_bytes()[0])),
            draining: draining.contains(&node),
            connections: 0,
            devices: 0,
            redis_us: 0,
        };
        nodes.iter().map(|node| (NodeId::from(*node), info(node))).collect()
    }

    fn device(n: u128) -> DeviceUuid {
        format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
    }

    #[test]
    fn devices_are_spread_and_only_a_share_moves() {
        let three = roll(&["a1", "b1", "c1"], &[]);
        let four = roll(&["a1", "b1", "c1", "d1"], &[]);
        let (mut counts, mut moved) = (BTreeMap::new(), 0);
        for n in 0..3_000 {
            let before = desired(device(n), &Eligible::Any, &three).unwrap();
            let after = desired(device(n), &Eligible::Any, &four).unwrap();
            *counts.entry(before.clone()).or_insert(0_u32) += 1;
            if before != after {
                assert_eq!(after.as_str(), "d1", "who stays keeps what it has");
                moved += 1;
            }
        }
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert!((650..850).contains(&moved), "{moved}");
    }

    #[test]
    fn who_may_not_or_leaves_is_not_chosen() {
        let all = roll(&["a1", "a2", "b1"], &["a1"]);
        for n in 0..50 {
            let machine = Eligible::Machine(device(u128::from(b'a')));
            assert_eq!(desired(device(n), &machine, &all).unwrap().as_str(), "a2");
            assert_ne!(desired(device(n), &Eligible::Any, &all).unwrap().as_str(), "a1");
            assert_eq!(desired(device(n), &Eligible::Link, &all), None);
        }
    }

    /// A model of the cluster: nodes come, go and are told late of each other. Each device has one
    /// owner at most at any time, and one in the end.
    #[derive(Debug, Clone)]
    enum Act {
        Flip(usize),
        Look(usize),
        Step(usize, u128),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0..4_usize).prop_map(Act::Flip),
            (0..4_usize).prop_map(Act::Look),
            (0..4_usize, 0..3_u128).prop_map(|(node, device)| Act::Step(node, device)),
        ]
    }

    proptest! {
        #[test]
        fn one_owner_at_most_and_one_in_the_end(acts in prop::collection::vec(act(), 0..200)) {
            const NODES: [&str; 4] = ["a1", "b1", "c1", "d1"];
            let mut lives = [true, false, false, false];
            let mut seen: Vec<BTreeMap<_, _>> = vec![roll(&["a1"], &[]); 4];
            let mut record: BTreeMap<u128, Standing> = BTreeMap::new();
            let mut token = 0_u64;
            let truth = |lives: &[bool; 4]| {
                let names: Vec<_> = (0..4).filter(|n| lives[*n]).map(|n| NODES[n]).collect();
                roll(&names, &[])
            };
            let end = (0..4).flat_map(|_| (0..4).map(Act::Look).chain(
                (0..4).flat_map(|n| (0..3).map(move |d| Act::Step(n, d)))));
            for act in acts.into_iter().chain(end) {
                match act {
                    Act::Flip(n) => {
                        lives[n] ^= true;
                        if !lives.contains(&true) { lives[n] = true; }
                    }
                    Act::Look(n) => seen[n] = truth(&lives),
                    Act::Step(n, d) if lives[n] => {
                        let me = NodeId::from(NODES[n]);
                        match step(&me, device(d), &Eligible::Any, record.get(&d), &seen[n]) {
                            Step::Rest => {}
                            Step::Claim(expected) => {
                                let there = record.get(&d).map_or("", |s| s.token.as_str());
                                if there == expected {
                                    token += 1;
                                    record.insert(d, Standing { node: me, token: token.to_string() });
                                }
                            }
                            Step::HandTo(other) => {
                                token += 1;
                                record.insert(d, Standing { node: other, token: token.to_string() });
                            }
                        }
                    }
                    Act::Step(..) => {}
                }
            }
            let all = truth(&lives);
            for d in 0..3 {
                let owner = desired(device(d), &Eligible::Any, &all).unwrap();
                prop_assert_eq!(&record[&d].node, owner);
            }
        }
    }
}
