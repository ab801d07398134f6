//! Who listens on a port of this machine.

use std::{fs, net::SocketAddr};

/// The processes that have the listening socket of this address, if it is one of this machine's
/// and they may be looked into.
pub(crate) fn listening_on(address: SocketAddr) -> Vec<u32> {
    if !address.ip().is_loopback() {
        return Vec::new();
    }
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process may end meanwhile, or belong to somebody else.
    pids.filter(|pid| has(*pid, &inodes)).collect()
}

fn has(pid: u32, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| {
        fs::read_link(file.path())
            .is_ok_and(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
    })
}

/// The inodes of the sockets that listen on a port, out of a table such as /proc/net/tcp.
fn inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let line = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let here = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        fields.get(9)?.parse().ok().filter(|_| here)
    };
    table.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0
   1: 0100007F:1F40 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0
   2: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4244 1 0
   3: nonsense
";

    #[test]
    fn only_the_listener_counts() {
        assert_eq!(inodes(TABLE, 8000), [4242]);
        assert!(inodes(TABLE, 8002).is_empty());
    }

    #[test]
    fn finds_its_own_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(listening_on(address), [std::process::id()]);
        drop(listener);
        assert!(listening_on(address).is_empty());
    }
}
