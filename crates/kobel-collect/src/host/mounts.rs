//! Mounted filesystems: /proc/self/mountinfo, and df's way of counting.

use std::collections::HashMap;

use kobel_wire::Mount;
use procfs_core::process::MountInfo;

use crate::text::clean;

/// The most filesystems that are reported.
pub const MAX_MOUNTS: usize = 64;

/// A filesystem worth asking for its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is mounted.
    pub path: String,
    /// Its type, such as `ext4`.
    pub fs: String,
    /// Whether it depends on someone who may not answer: another host, or a process here (FUSE).
    pub remote: bool,
}

/// Blocks as statvfs(3) counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Bytes a block (`f_frsize`).
    pub size: u64,
    /// Blocks in all.
    pub total: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for unprivileged users.
    pub available: u64,
}

/// The filesystems in /proc/self/mountinfo that hold data, each device once, the root first.
///
/// Left out: what exists only in the kernel or in memory, read-only images, and overlays other than
/// the root (containers' own; their space is that of a filesystem below, which is listed). Of a
/// device that is mounted more than once (bind mounts, subvolumes) the mount of its own root counts
/// before parts of it, and a short path before a long one.
pub fn parse(mountinfo: &str) -> Vec<Mounted> {
    let mut by_device: HashMap<String, (bool, Mounted)> = HashMap::new();
    for line in mountinfo.lines().take(10_000) {
        let Ok(info) = MountInfo::from_line(line) else {
            continue;
        };
        let path = unescape(&info.mount_point.to_string_lossy());
        if !holds_data(&info.fs_type, &path) {
            continue;
        }
        let is_part = info.root != "/";
        let fs = clean(&info.fs_type, 32);
        let found = (is_part, Mounted { remote: is_remote(&fs), path, fs });
        let better = |known: &(bool, Mounted)| {
            let order = |(part, m): &(bool, Mounted)| (m.path != "/", *part, m.path.len());
            order(&found) < order(known)
        };
        match by_device.get(&info.majmin) {
            Some(known) if !better(known) => {}
            _ => drop(by_device.insert(info.majmin, found)),
        }
    }
    let mut mounts: Vec<_> = by_device.into_values().map(|(_, mounted)| mounted).collect();
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    mounts.truncate(MAX_MOUNTS);
    mounts
}

fn holds_data(fs: &str, path: &str) -> bool {
    match fs {
        "overlay" | "aufs" => path == "/",
        "tmpfs" | "ramfs" | "devtmpfs" | "proc" | "sysfs" | "devpts" | "cgroup" | "cgroup2"
        | "securityfs" | "pstore" | "bpf" | "debugfs" | "tracefs" | "configfs" | "fusectl"
        | "mqueue" | "hugetlbfs" | "autofs" | "binfmt_misc" | "rpc_pipefs" | "nsfs"
        | "squashfs" | "erofs" | "efivarfs" | "selinuxfs" | "nfsd" | "iso9660" | "udf"
        | "rootfs" | "fuse.lxcfs" | "fuse.portal" | "fuse.gvfsd-fuse" | "fuse.snapfuse" => false,
        _ => true,
    }
}

fn is_remote(fs: &str) -> bool {
    fs.starts_with("nfs")
        || fs.starts_with("fuse")
        || matches!(fs, "cifs" | "smb3" | "smbfs" | "9p" | "virtiofs" | "ceph" | "glusterfs")
        || matches!(fs, "afs" | "lustre" | "ocfs2" | "gfs2" | "beegfs" | "gpfs" | "vboxsf")
}

/// The kernel writes space, tab, newline, backslash and # in octal (`mangle` in fs/seq_file.c).
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A filesystem's use as df(1) counts it: blocks that are reserved for root are neither used nor
/// of use, so they are not in the total. Absent for a filesystem without blocks.
pub fn usage(mounted: &Mounted, blocks: Blocks) -> Option<Mount> {
    let used = blocks.total.saturating_sub(blocks.free).saturating_mul(blocks.size);
    let total = used.saturating_add(blocks.available.saturating_mul(blocks.size));
    let path = clean(&mounted.path, 1024);
    (blocks.total > 0 && total > 0).then(|| Mount {
        path,
        fs: Some(mounted.fs.clone()),
        used,
        total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_each_device_once() {
        let text = "\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
23 22 0:5 / /proc rw - proc proc rw
24 22 0:30 / /dev/shm rw - tmpfs tmpfs rw
25 22 8:2 /srv /var/srv rw - ext4 /dev/sda2 rw
26 22 8:17 /sub /bind rw - xfs /dev/sdb1 rw
27 22 8:17 / /mnt/a\\040b rw - xfs /dev/sdb1 rw
28 22 0:44 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
29 22 0:50 / /net rw - nfs4 server:/x rw
30 22 7:1 / /snap/core ro - squashfs /dev/loop1 ro
31 22 0:51 / /home/me/remote rw - fuse.sshfs me@host: rw
garbage
32 22
";
        let found: Vec<_> = parse(text).into_iter().map(|m| (m.path, m.fs, m.remote)).collect();
        let expected = [
            ("/", "ext4", false),
            ("/home/me/remote", "fuse.sshfs", true),
            ("/mnt/a b", "xfs", false),
            ("/net", "nfs4", true),
        ];
        assert_eq!(found, expected.map(|(p, f, r)| (p.to_owned(), f.to_owned(), r)));
    }

    #[test]
    fn the_root_counts_even_as_an_overlay_or_a_part() {
        let text =
            "1 0 0:44 / / rw - overlay overlay rw\n2 1 8:1 / /etc/hosts rw - ext4 /dev/sda1 rw\n";
        assert_eq!(parse(text)[0].path, "/");
        let btrfs =
            "1 0 0:28 /@ / rw - btrfs /dev/sda rw\n2 1 0:28 / /.all rw - btrfs /dev/sda rw\n";
        assert_eq!(parse(btrfs).into_iter().map(|m| m.path).collect::<Vec<_>>(), ["/"]);
    }

    #[test]
    fn counts_as_df_does() {
        let mounted = Mounted { path: "/".into(), fs: "ext4".into(), remote: false };
        let blocks = Blocks { size: 4096, total: 1000, free: 300, available: 250 };
        let mount = usage(&mounted, blocks).unwrap();
        assert_eq!((mount.used, mount.total), (700 * 4096, 950 * 4096));
        assert_eq!(usage(&mounted, Blocks { total: 0, ..blocks }), None);
        let absurd = Blocks { size: u64::MAX, total: u64::MAX, free: 0, available: u64::MAX };
        assert_eq!(usage(&mounted, absurd).unwrap().total, u64::MAX);
    }

    #[test]
    fn escapes() {
        for (text, path) in
            [(r"a\040b\134", r"a b\"), (r"\", r"\"), (r"\9", r"\9"), (r"\0é4", r"\0é4")]
        {
            assert_eq!(unescape(text), path);
        }
    }
}
