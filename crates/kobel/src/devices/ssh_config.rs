//! `ssh_config(5)`, as far as it says where a host is and who signs in there. Text in, values out.

/// What is said of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostOptions {
    /// `HostName`, with `%h` filled in.
    pub(crate) host_name: Option<String>,
    /// `User`.
    pub(crate) user: Option<String>,
    /// `Port`.
    pub(crate) port: Option<u16>,
    /// `IdentityFile`, in the order of the file.
    pub(crate) identity_files: Vec<String>,
    /// `ProxyJump`, the first hop first; `none` is none.
    pub(crate) jump: Vec<String>,
    /// What is said and cannot be followed.
    pub(crate) not_followed: Vec<String>,
}

/// A file, read.
#[derive(Debug, Default)]
pub(crate) struct SshConfig {
    blocks: Vec<Block>,
}

#[derive(Debug, Default)]
struct Block {
    /// Empty before the first `Host`: it holds for all.
    patterns: Vec<String>,
    line: usize,
    options: Vec<(String, String)>,
    /// A `Match` block: whether it holds is not ours to say.
    matching: bool,
}

/// Files within files, at most.
const DEPTH: usize = 8;

impl SshConfig {
    /// Reads a text. `include` gives the texts of the files that a pattern of `Include` names.
    pub(crate) fn parse(text: &str, include: &mut dyn FnMut(&str) -> Vec<String>) -> Self {
        let mut config = Self::default();
        config.blocks.push(Block::default());
        config.read(text, include, 0);
        config
    }

    fn read(&mut self, text: &str, include: &mut dyn FnMut(&str) -> Vec<String>, depth: usize) {
        for (number, line) in text.lines().enumerate() {
            let Some((keyword, value)) = keyword(line) else { continue };
            match keyword.as_str() {
                "host" => self.blocks.push(Block {
                    patterns: words(value),
                    line: if depth == 0 { number + 1 } else { 0 },
                    ..Block::default()
                }),
                "match" => self.blocks.push(Block { matching: true, ..Block::default() }),
                "include" if depth < DEPTH => {
                    for pattern in words(value) {
                        for text in include(&pattern) {
                            self.read(&text, include, depth + 1);
                        }
                    }
                }
                _ => {
                    if let Some(block) = self.blocks.last_mut() {
                        block.options.push((keyword, value.to_owned()));
                    }
                }
            }
        }
    }

    /// The hosts that are named in full, with the line of the first mention (0 in another file).
    pub(crate) fn hosts(&self) -> Vec<(usize, String)> {
        let mut hosts: Vec<(usize, String)> = Vec::new();
        for block in &self.blocks {
            for name in &block.patterns {
                if !name.contains(['*', '?', '!']) && !hosts.iter().any(|(_, known)| known == name)
                {
                    hosts.push((block.line, name.clone()));
                }
            }
        }
        hosts
    }

    /// What is said of a host: of each option what stands first, as ssh(1) does.
    pub(crate) fn lookup(&self, host: &str) -> HostOptions {
        let mut found = HostOptions::default();
        let mut jump = None;
        for block in self.blocks.iter().filter(|block| block.holds(host)) {
            for (keyword, value) in &block.options {
                let value = words(value);
                let Some(first) = value.first().cloned() else { continue };
                match keyword.as_str() {
                    "hostname" if found.host_name.is_none() => {
                        found.host_name = Some(first.replace("%h", host).replace("%%", "%"));
                    }
                    "user" if found.user.is_none() => found.user = Some(first),
                    "port" if found.port.is_none() => found.port = first.parse().ok(),
                    "identityfile" if first != "none" => found.identity_files.push(first),
                    "proxyjump" if jump.is_none() => jump = Some(first),
                    "proxycommand" if first != "none" => {
                        let why = "ProxyCommand is not followed: use ProxyJump".to_owned();
                        if !found.not_followed.contains(&why) {
                            found.not_followed.push(why);
                        }
                    }
                    _ => {}
                }
            }
        }
        let jump = jump.filter(|jump| jump != "none").unwrap_or_default();
        found.jump = jump.split(',').filter(|hop| !hop.is_empty()).map(str::to_owned).collect();
        found
    }
}

impl Block {
    fn holds(&self, host: &str) -> bool {
        if self.matching {
            return false;
        }
        if self.patterns.is_empty() {
            return true;
        }
        let mut holds = false;
        for pattern in &self.patterns {
            match pattern.strip_prefix('!') {
                Some(not) if matches(not, host) => return false,
                Some(_) => {}
                None => holds |= matches(pattern, host),
            }
        }
        holds
    }
}

fn keyword(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
    Some((keyword.to_ascii_lowercase(), rest))
}

/// Words, in double quotes where they have spaces; a comment ends them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// `*` is anything, `?` one character.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p).is_some_and(|c| *c == '?' || *c == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# mine
User everywhere
Host web-1 web-2   # two
    HostName=%h.example.com
    Port 2222
    IdentityFile \"~/.ssh/my key\"
Host db !db-old
    User postgres
    ProxyJump me@gate:2200,inner
Host *.internal
    ProxyCommand nc %h %p
Match user root
    HostName evil
Host *
    Port 22
    IdentityFile ~/.ssh/all
Include other
";

    #[test]
    fn what_stands_first_holds() {
        let mut asked = Vec::new();
        let config = SshConfig::parse(TEXT, &mut |pattern| {
            asked.push(pattern.to_owned());
            vec!["Host more\nHostName 10.0.0.9\n".into()]
        });
        assert_eq!(asked, ["other"]);
        let names: Vec<_> = config.hosts().into_iter().collect();
        let expected = [(3, "web-1"), (3, "web-2"), (7, "db"), (0, "more")];
        assert_eq!(names, expected.map(|(line, name)| (line, name.to_owned())));
        let web = config.lookup("web-1");
        assert_eq!(web.host_name.as_deref(), Some("web-1.example.com"));
        assert_eq!((web.user.as_deref(), web.port), (Some("everywhere"), Some(2222)));
        assert_eq!(web.identity_files, ["~/.ssh/my key", "~/.ssh/all"]);
        let db = config.lookup("db");
        assert_eq!(db.jump, ["me@gate:2200", "inner"]);
        assert_eq!((db.user.as_deref(), db.host_name), (Some("everywhere"), None));
        assert!(config.lookup("a.internal").not_followed[0].contains("ProxyCommand"));
        assert_eq!(config.lookup("more").host_name.as_deref(), Some("10.0.0.9"));
        assert_eq!(config.lookup("x").port, Some(22));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,200}", host in ".{0,20}") {
            let config = SshConfig::parse(&text, &mut |_| vec!["Include x\n".into()]);
            let _ = (config.hosts(), config.lookup(&host));
        }
    }
}
