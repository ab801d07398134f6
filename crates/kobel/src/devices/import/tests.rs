use proptest::prelude::*;

use super::*;

fn defaults() -> Defaults {
    Defaults { user: Some("me".into()), home: Some("/home/me".into()), sign_in: vec!["hub-key"] }
}

fn all(format: Format, text: &str) -> Found {
    read(format, text, &defaults(), &mut |_| Vec::new()).unwrap()
}

fn addresses(found: &Found) -> Vec<(String, String)> {
    let address = |c: &Candidate| c.body["address"].as_str().unwrap().to_owned();
    found.taken.iter().map(|c| (c.name.clone(), address(c))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn an_ssh_config_gives_its_names() {
    let text = "Host *\n  User deploy\nHost gate\n  HostName 192.0.2.1\n  Port 2200\nHost web\n  \
                ProxyJump gate\n  IdentityFile ~/.ssh/web\nHost odd\n  ProxyCommand nc %h %p\n\
                Host *.wild\n";
    let found = all(Format::SshConfig, text);
    let expected = [("gate", "ssh://deploy@192.0.2.1:2200"), ("web", "ssh://deploy@web")];
    assert_eq!(addresses(&found), pairs(&expected));
    let ssh = &found.taken[1].body["ssh"];
    assert_eq!(ssh["jump"], json!(["ssh://deploy@192.0.2.1:2200"]));
    assert_eq!(ssh["identityFile"], "/home/me/.ssh/web");
    assert_eq!(ssh["signIn"], json!(["key-file", "hub-key"]));
    assert_eq!((found.left[0].name.as_str(), found.left[0].line), ("odd", Some(9)));
}

const INI: &str = "\
lonely ansible_host=192.0.2.9
[web]
web[01:03].example ansible_user=www   # three
[db]
db-[a:b] ansible_port=2222 ansible_password='planted secret'
win ansible_connection=winrm
tmpl ansible_host=\"{{ ip }}\"
[prod:children]
web
db
[prod:vars]
ansible_user=ops
[all:vars]
ansible_user = root
";

#[test]
fn an_ini_inventory_gives_hosts_groups_and_variables() {
    let found = all(Format::AnsibleIni, INI);
    let expected = [
        ("lonely", "ssh://root@192.0.2.9"),
        ("web01.example", "ssh://www@web01.example"),
        ("web02.example", "ssh://www@web02.example"),
        ("web03.example", "ssh://www@web03.example"),
        ("db-a", "ssh://ops@db-a:2222"),
        ("db-b", "ssh://ops@db-b:2222"),
    ];
    assert_eq!(addresses(&found), pairs(&expected));
    let web = &found.taken[1];
    assert_eq!((&web.body["group"], &web.body["tags"]), (&json!("web"), &json!(["web", "prod"])));
    assert_eq!(web.line, Some(3));
    assert!(found.taken[4].remarks[0].contains("--ask-password"));
    assert!(!format!("{found:?}").contains("planted"), "passwords are not taken");
    let left: Vec<_> = found.left.iter().map(|left| left.name.as_str()).collect();
    assert_eq!(left, ["win", "tmpl"]);
}

#[test]
fn a_yaml_inventory_says_the_same() {
    let text = "
all:
  vars: { ansible_user: root }
  hosts:
    lonely: { ansible_host: 192.0.2.9 }
  children:
    prod:
      vars: { ansible_user: ops }
      children:
        web:
          hosts:
            web[01:02].example: { ansible_user: www, ansible_port: 2222 }
        db:
          hosts:
            db-a:
";
    let found = all(Format::AnsibleYaml, text);
    let expected = [
        ("lonely", "ssh://root@192.0.2.9"),
        ("db-a", "ssh://ops@db-a"),
        ("web01.example", "ssh://www@web01.example:2222"),
        ("web02.example", "ssh://www@web02.example:2222"),
    ];
    // Its maps are read in the order of their keys.
    assert_eq!(addresses(&found), pairs(&expected));
    assert_eq!(found.taken[1].body["tags"], json!(["db", "prod"]));
}

#[test]
fn an_export_comes_back_without_its_secrets() {
    let text = r#"[
        {"name": "a", "address": "ssh://me@a", "secrets": ["password"], "deviceUuid": "x",
         "ssh": {"signIn": ["password"]}},
        {"name": "here", "address": null}
    ]"#;
    let found = all(Format::Json, text);
    assert_eq!(found.taken[0].body["ssh"]["signIn"], json!(["hub-key"]));
    assert!(!found.taken[0].body.contains_key("deviceUuid"));
    assert!(found.taken[0].remarks[0].contains("set them anew"));
    assert_eq!(found.left[0].name, "here");
}

#[test]
fn what_cannot_be_read_says_where() {
    for (format, text, why) in [
        (Format::AnsibleIni, "[web\nhost", "line 1"),
        (Format::AnsibleIni, "a[9:1]", "line 1"),
        (Format::AnsibleIni, "[x:odd]\n", "[group:vars]"),
        (Format::AnsibleIni, "a[1:99999999]", "range"),
        (Format::AnsibleYaml, "all: [1, 2]", "group all"),
        (Format::AnsibleYaml, "a: {{", "text: "),
        (Format::Json, "{}", "text: "),
    ] {
        let error = read(format, text, &defaults(), &mut |_| Vec::new()).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let found = all(Format::AnsibleIni, "bad ansible_host='a b;$(x)'\n-oProxyCommand=x\n");
    assert!(found.taken.is_empty() && found.left.len() == 2, "{found:?}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s)[\\[\\]:a-c0-9=\" \n{}#-]{0,200}") {
        for format in [Format::SshConfig, Format::AnsibleIni, Format::AnsibleYaml, Format::Json] {
            let _ = read(format, &text, &defaults(), &mut |_| Vec::new());
        }
    }
}
