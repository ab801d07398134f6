//! Flags over file, and what is said of a wrong file.

use super::*;

fn load(toml: &str, options: ServeOptions) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kobel.toml");
    std::fs::write(&file, toml).unwrap();
    let common = Common { config: Some(file), data: Some("/data".into()), ..Common::default() };
    Config::load(&common, options)
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let toml =
        "listen = \"0.0.0.0:9000\"\nping-interval = \"10s\"\nallowed-hosts = [\"a.example\"]";
    let options = ServeOptions {
        ping_interval: Some(Span(Duration::from_secs(5))),
        ..ServeOptions::default()
    };
    let config = load(toml, options).unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.fanout.ping_interval, Duration::from_secs(5));
    assert_eq!(config.fanout.ping_timeout, Duration::from_secs(60));
    assert_eq!(config.allowed_hosts[0].as_str(), "a.example");
    assert_eq!(config.base_url(), "http://127.0.0.1:9000");
    let config = load("public-url = \"https://k.example/\"", ServeOptions::default()).unwrap();
    assert_eq!(config.base_url(), "https://k.example");
}

#[test]
fn a_wrong_file_is_shown_with_its_line_and_what_would_be_right() {
    for (toml, says) in [
        ("listen = 8000", ["line 1", "string"]),
        ("\nlisten = \"8000\"", ["line 2", "write it as 127.0.0.1:8000"]),
        ("listne = \"127.0.0.1:8000\"", ["unknown field `listne`", "`listen`"]),
        ("ping-interval = \"25\"", ["25s", "line 1"]),
        ("log-store = \"maybe\"", ["`on`", "`off`"]),
        ("log-store-size = \"big\"", ["write it as 500MB", "line 1"]),
        ("log-format = \"xml\"", ["`human`", "`json`"]),
        ("allowed-origins = [\"*\"]", ["is no origin", "line 1"]),
        ("docker = \"nowhere\"", ["nowhere", "line 1"]),
        ("log-redact = \"no\"", ["`on`", "`off`"]),
        ("[[logs.redact]]\nname = \"a\"\nregex = '('", ["line 3", "unclosed group"]),
        ("[[logs.redact]]\nname = \"a\"\nregex = 'x*'", ["line 3", "where nothing is"]),
        ("[[logs.redact]]\nname = \"a\"", ["line 1", "missing field `regex`"]),
        ("[[logs.redact]]\nname = \"a\"\nregxe = 'x'", ["line 3", "unknown field `regxe`"]),
    ] {
        let error = load(toml, ServeOptions::default()).unwrap_err().to_string();
        assert!(error.contains("kobel.toml"), "{error}");
        for part in says {
            assert!(error.contains(part), "{toml}: {part:?} is not in: {error}");
        }
    }
    let missing = Common { config: Some("/no/such.toml".into()), ..Common::default() };
    let error = Config::load(&missing, ServeOptions::default()).unwrap_err().to_string();
    assert!(error.contains("/no/such.toml"), "{error}");
}

#[test]
fn tls_takes_both_files_and_makes_links_https() {
    let both = "tls-cert = \"/c.pem\"\ntls-key = \"/k.pem\"";
    let config = load(both, ServeOptions::default()).unwrap();
    let files = tls::Files { cert: "/c.pem".into(), key: "/k.pem".into() };
    assert_eq!(config.tls, Some(files));
    assert_eq!(config.base_url(), "https://127.0.0.1:8000");
    assert!(config.is_secure());
    assert!(!load("", ServeOptions::default()).unwrap().is_secure());
    for (toml, says) in [
        ("tls-cert = \"/c.pem\"", "tls-cert is given without tls-key"),
        ("tls-key = \"/k.pem\"", "tls-key is given without tls-cert"),
    ] {
        let error = load(toml, ServeOptions::default()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn trusted_proxies_are_networks() {
    let toml = "trusted-proxies = [\"10.0.0.0/8\", \"::1\"]";
    let config = load(toml, ServeOptions::default()).unwrap();
    assert!(config.proxies.trusts([10, 1, 2, 3].into()));
    assert!(!config.proxies.trusts([127, 0, 0, 1].into()));
    for (toml, says) in [
        ("trusted-proxies = [\"nginx\"]", "write it as 10.0.0.0/8"),
        ("trusted-proxies = [\"0.0.0.0/0\"]", "everybody"),
    ] {
        let error = load(toml, ServeOptions::default()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("line 1"), "{error}");
    }
}

#[test]
fn log_lines_are_redacted_by_default_and_by_rules_of_the_file() {
    let rules = "[[logs.redact]]\nname = \"customers\"\nregex = '(customer-)\\d+'\n\
                 mask = \"${1}#\"\n[[logs.redact]]\nname = \"cards\"\nregex = '\\b\\d{16}\\b'";
    let text = "customer-4711 paid by 4000123412341234, password=hunter2";
    let off = ServeOptions { log_redact: Some(Switch::Off), ..ServeOptions::default() };
    for (toml, options, wanted) in [
        ("", ServeOptions::default(), "customer-4711 paid by 4000123412341234, password=***"),
        (rules, ServeOptions::default(), "customer-# paid by ***, password=***"),
        (rules, off.clone(), "customer-# paid by ***, password=hunter2"),
        ("log-redact = \"off\"", ServeOptions::default(), text),
    ] {
        assert_eq!(load(toml, options).unwrap().redaction.mask(text), wanted);
    }
    let many = "[[logs.redact]]\nname = \"a\"\nregex = 'x'\n".repeat(101);
    let error = load(&many, off).unwrap_err().to_string();
    assert!(error.contains("logs.redact: 101 redaction rules: at most 100"), "{error}");
}

#[test]
fn a_cluster_without_its_redis_is_refused() {
    let options = ServeOptions { enable_clustering: Some(true), ..ServeOptions::default() };
    let error = load("", options).unwrap_err().to_string();
    assert!(error.contains("--redis-url"), "{error}");
}

#[test]
fn a_database_s_password_is_shown_nowhere() {
    let url = "postgres://me:pl%40nted@db.example/kobel";
    let config = load(&format!("database-url = \"{url}\""), ServeOptions::default()).unwrap();
    assert_eq!(config.database.to_string(), "postgres://db.example:5432/kobel");
    assert!(!format!("{config:?}").contains("nted"), "{config:?}");
    for bad in ["database-url = \"mysql://planted\"", "database-url = \"postgres://a:planted/@h\""]
    {
        let error = load(bad, ServeOptions::default()).unwrap_err().to_string();
        assert!(error.contains("KOBEL_DATABASE_URL") && !error.contains("planted"), "{error}");
    }
    let none = load("database-url = \"\"", ServeOptions::default()).unwrap();
    assert!(matches!(none.database, Database::Folder(_)));

    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no-password");
    let common = Common {
        database_url: Some("postgres://me@h/d".parse().unwrap()),
        database_password_file: Some(missing.clone()),
        ..Common::default()
    };
    let error = Config::load(&common, ServeOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no-password"), "{error}");
    std::fs::write(&missing, "planted\n").unwrap();
    let config = Config::load(&common, ServeOptions::default()).unwrap();
    assert!(!format!("{config:?} {common:?}").contains("planted"));
}
