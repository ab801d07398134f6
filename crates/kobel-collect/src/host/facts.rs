//! What a host says of itself: os-release, /proc/cpuinfo, machine-id.

use crate::text::clean;

/// The operating system's name for people, from os-release(5): `PRETTY_NAME`, else `NAME` and
/// `VERSION`.
pub fn os_name(os_release: &str) -> Option<String> {
    let field = |wanted: &str| {
        os_release.lines().find_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            (name == wanted).then(|| unquote(value)).filter(|value| !value.is_empty())
        })
    };
    let plain = || {
        let name = field("NAME")?;
        Some(field("VERSION").map_or(name.clone(), |version| format!("{name} {version}")))
    };
    field("PRETTY_NAME").or_else(plain).map(|name| clean(&name, 128))
}

/// Shell quoting, as far as os-release(5) allows it.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value);
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// The processor's name, from /proc/cpuinfo. Each architecture has a word of its own for it; on
/// many ARM machines the board's name is all there is.
pub fn cpu_model(cpuinfo: &str) -> Option<String> {
    const WORDS: [&str; 7] =
        ["model name", "cpu model", "Processor", "cpu", "uarch", "Model", "Hardware"];
    let field = |wanted: &&str| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            (name.trim() == *wanted && !value.is_empty()).then(|| clean(value, 128))
        })
    };
    WORDS.iter().find_map(field)
}

/// A machine id as machine-id(5) defines it: 32 hexadecimal digits in lower case.
pub fn machine_id(text: &str) -> Option<String> {
    let id = text.trim();
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    // All zeros is what images carry that nobody has booted yet.
    let is_id = id.len() == 32 && id.bytes().all(is_hex) && id.bytes().any(|b| b != b'0');
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_names() {
        for (text, name) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=x\n",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("NAME='Void'\n", Some("Void")),
            ("NAME=Alpine\nVERSION=3\n", Some("Alpine 3")),
            ("PRETTY_NAME=\"a \\\"b\\\"\"\n", Some("a \"b\"")),
            ("PRETTY_NAME=\n# NAME=x\n", None),
            ("", None),
        ] {
            assert_eq!(os_name(text).as_deref(), name, "{text:?}");
        }
    }

    #[test]
    fn processor_names() {
        for (text, name) in [
            (
                "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nmodel name\t: other\n",
                Some("Intel(R) Xeon(R)"),
            ),
            (
                "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4 Model B\n",
                Some("Raspberry Pi 4 Model B"),
            ),
            ("cpu\t\t: POWER9\n", Some("POWER9")),
            ("model name:\n", None),
        ] {
            assert_eq!(cpu_model(text).as_deref(), name, "{text:?}");
        }
    }

    #[test]
    fn machine_ids() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(machine_id(&format!("{id}\n")).as_deref(), Some(id));
        for bad in ["", "uninitialized", "0123", &"0".repeat(32), &id.to_uppercase()] {
            assert_eq!(machine_id(bad), None, "{bad:?}");
        }
    }
}
