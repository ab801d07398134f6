//! `kobel agent install`: a unit for systemd.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use kobel_collect::agent::{Fingerprint, Hub};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
Example:
  kobel agent install --hub https://kobel.example.com > /etc/systemd/system/kobel-agent.service
  install -D -m 600 /dev/stdin /etc/kobel/agent.token    # paste the token, then Ctrl-D
  systemctl daemon-reload && systemctl enable --now kobel-agent";

/// Options of `kobel agent install`.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// The hub, such as https://kobel.example.com
    #[arg(long, value_name = "URL", env = "KOBEL_HUB")]
    hub: Hub,

    /// Where the token will be; systemd gives it to the agent, which cannot read the file itself
    #[arg(long, value_name = "FILE", default_value = "/etc/kobel/agent.token")]
    token_file: PathBuf,

    /// The fingerprint of the hub's certificate, where no authority signed it
    #[arg(long, value_name = "SHA256", env = "KOBEL_HUB_FINGERPRINT")]
    hub_fingerprint: Option<Fingerprint>,

    /// A file of certificates (PEM) that the hub's may be signed by; systemd gives it to the agent
    #[arg(long, value_name = "FILE", env = "KOBEL_HUB_CA", conflicts_with = "hub_fingerprint")]
    hub_ca: Option<PathBuf>,

    /// The program [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Install {
    pub(super) fn unit(&self) -> String {
        let this = || env::current_exe().unwrap_or_else(|_| "/usr/local/bin/kobel".into());
        let program = self.program.clone().unwrap_or_else(this);
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        unit(self, &program.display().to_string(), &engine_group(&groups))
    }
}

/// The line by which the agent may read containers. A group that is not there would keep the unit
/// from starting.
fn engine_group(groups: &str) -> String {
    let known = groups.lines().any(|line| line.split(':').next() == Some("docker"));
    format!("{}SupplementaryGroups=docker", if known { "" } else { "# " })
}

/// An argument for ExecStart: systemd takes `%` and `$` for its own, and cuts at spaces.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('%', "%%").replace('$', "$$"))
}

/// A path in a setting of its own: there `%` alone is systemd's.
fn path(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

fn unit(install: &Install, program: &str, group: &str) -> String {
    let (mut more, mut credentials) = (String::new(), String::new());
    if let Some(fingerprint) = &install.hub_fingerprint {
        // A `String` takes everything.
        let _ = write!(more, " --hub-fingerprint {fingerprint}");
    }
    if let Some(file) = &install.hub_ca {
        more.push_str(" --hub-ca %d/hub-ca");
        let _ = write!(credentials, "\nLoadCredential=hub-ca:{}", path(file));
    }
    let token = path(&install.token_file);
    let (program, hub) = (quoted(program), quoted(&install.hub.to_string()));
    format!(
        "\
# /etc/systemd/system/kobel-agent.service
#
# 1. On the hub:  kobel token create {{name}} --enroll
# 2. Here, as root, within an hour, with that token:
#      install -D -m 600 /dev/stdin {token}
# 3. Put this file where its first line says, then:
#      systemctl daemon-reload && systemctl enable --now kobel-agent
# The agent then makes a key of its own, in /var/lib/kobel-agent; the token is worth nothing once it
# is used, but its file must stay, or systemd starts nothing.
#
# systemctl status kobel-agent says how it fares.

[Unit]
Description=Kobel agent: reports this machine and its containers
Wants=network-online.target
After=network-online.target docker.service

[Service]
ExecStart={program} agent --hub {hub} --token-file %d/token{more}
LoadCredential=token:{token}{credentials}
# The agent's own key lies there.
StateDirectory=kobel-agent
StateDirectoryMode=0700
Environment=KOBEL_DATA=%S/kobel-agent
Restart=on-failure
RestartSec=10
# The hub does not take the token or the key: only a person can change that.
RestartPreventExitStatus=77

DynamicUser=yes
# Who may use Docker's socket may do all that root may. Without it there are no containers.
{group}

CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
MemoryMax=256M
NoNewPrivileges=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=read-only
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077

[Install]
WantedBy=multi-user.target
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_what_was_said_and_holds_no_secret() {
        let install = Install {
            hub: "https://kobel.example.com".parse().unwrap(),
            token_file: "/etc/kobel/agent.token".into(),
            hub_fingerprint: Some("ab".repeat(32).parse().unwrap()),
            hub_ca: None,
            program: None,
        };
        let unit = unit(&install, "/opt/my tools/50%/kobel", &engine_group("docker:x:999:\n"));
        let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        let wanted = "ExecStart=\"/opt/my tools/50%%/kobel\" agent --hub \
                      \"https://kobel.example.com\" --token-file %d/token --hub-fingerprint AB:AB";
        assert!(start.starts_with(wanted), "{start}");
        assert!(unit.contains("\nLoadCredential=token:/etc/kobel/agent.token\n"));
        assert!(unit.contains("\nSupplementaryGroups=docker\n"));
        assert!(engine_group("dockers:x:1:\n").starts_with("# "));
        // The key that it makes has a place, and the unit is told of it.
        assert!(unit.contains("\nStateDirectory=kobel-agent\n"));
        assert!(unit.contains("\nEnvironment=KOBEL_DATA=%S/kobel-agent\n"));
    }

    #[test]
    fn an_authority_s_certificate_is_given_as_a_credential() {
        let install = Install {
            hub: "https://kobel.example.com".parse().unwrap(),
            token_file: "/etc/kobel/100%.token".into(),
            hub_fingerprint: None,
            hub_ca: Some("/root/hub.pem".into()),
            program: None,
        };
        let unit = unit(&install, "/usr/bin/kobel", "");
        assert!(unit.contains(" --token-file %d/token --hub-ca %d/hub-ca\n"), "{unit}");
        assert!(unit.contains("\nLoadCredential=hub-ca:/root/hub.pem\n"));
        assert!(unit.contains("\nLoadCredential=token:/etc/kobel/100%%.token\n"));
    }
}
