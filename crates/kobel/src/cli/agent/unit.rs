//! `kobel agent install`: a unit for systemd.
#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these comments are the text of --help"
)]

use std::{env, fmt::Write, fs, path::PathBuf};

use clap::Args;
use kobel_collect::agent::{Fingerprint, Hub};

/// Shown below `--help`.
pub(super) const EXAMPLES: &str = "\
Example:
  kobel agent install --hub https://kobel.example.com > /etc/systemd/system/kobel-agent.service
  install -m 600 /dev/stdin /etc/kobel/agent.token    # paste the token, then Ctrl-D
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

fn unit(install: &Install, program: &str, group: &str) -> String {
    let mut more = String::new();
    if let Some(fingerprint) = &install.hub_fingerprint {
        // A `String` takes everything.
        let _ = write!(more, " --hub-fingerprint {fingerprint}");
    }
    let token = install.token_file.display();
    let (program, hub) = (quoted(program), quoted(&install.hub.to_string()));
    format!(
        "\
# /etc/systemd/system/kobel-agent.service
#
# 1. On the hub:  kobel token create {{name}} --role agent
# 2. Here, as root, with that token:
#      install -D -m 600 /dev/stdin {token}
# 3. Put this file where its first line says, then:
#      systemctl daemon-reload && systemctl enable --now kobel-agent
#
# systemctl status kobel-agent says how it fares.

[Unit]
Description=Kobel agent: reports this machine and its containers
Wants=network-online.target
After=network-online.target docker.service

[Service]
ExecStart={program} agent --hub {hub} --token-file %d/token{more}
LoadCredential=token:{token}
Restart=on-failure
RestartSec=10
# The hub does not take the token: only a person can change that.
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
    }
}
