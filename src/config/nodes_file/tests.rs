//! The nodes' file as a whole.

use super::*;

fn read(text: &str) -> Result<Vec<NodeSettings>, Vec<String>> {
    parse(text, &|name| {
        (name == "KEY").then(|| "hush-hush".to_owned())
    })
}

#[test]
fn a_file_lists_nodes_with_their_drivers() {
    let nodes = read(
        r#"
        [[node]]
        id = "plain"
        [[node]]
        id = "lk"
        driver = "livekit"
        url = "wss://lk.example"
        api_url = "http://10.0.0.5:7880"
        api_key = "devkey"
        api_secret_env = "KEY"
        "#,
    );
    let nodes = nodes.expect("it is valid");
    let ids: Vec<_> = nodes
        .iter()
        .map(|settings| (settings.node.node_id.as_str(), settings.node.driver))
        .collect();
    assert_eq!(ids, [("plain", Driver::Builtin), ("lk", Driver::LiveKit)]);
}

#[test]
fn every_fault_is_reported_and_no_value() {
    let faults = read(
        r#"
        [[node]]
        id = "x y"
        driver = "janus"
        url = "ftp://u:top@x"
        [[node]]
        id = "lk"
        driver = "livekit"
        api_url = "http://user:top-secret@host"
        api_secret_env = "OTHER"
        [[node]]
        id = "lk"
        api_key = "k"
        "#,
    );
    let faults = faults.expect_err("it is not valid").join("\n");
    for part in [
        "node number 1: id",
        "node number 1: driver",
        "node number 1: url",
        "node lk: api_url",
        "node lk: api_key must be set",
        "node lk: api_secret_env",
        "node lk: a builtin node",
    ] {
        assert!(faults.contains(part), "{part}\n{faults}");
    }
    for secret in ["top", "janus", "x y"] {
        assert!(!faults.contains(secret), "{faults}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for text in [
        "node = \"hush\"",
        "[[node]]\nid = 5\napi_secret = \"hush\"",
        "[[node]]\nid = \"a\"\nweight = \"hush\"",
        "hush",
        "",
    ] {
        let faults = read(text).expect_err("it is not valid").join("\n");
        assert!(!faults.contains("hush"), "{faults}");
    }
    let faults = read("[[node]]\nid = \"a\"\nurll = \"x\"").expect_err("it is not valid");
    assert!(
        faults[0].starts_with("line 3: unknown field `urll`"),
        "{faults:?}"
    );
}

#[test]
fn addresses_hold_no_secret_and_name_one_server_each() {
    let node = |id: &str, addresses: &str| {
        format!(
            "[[node]]\nid = \"{id}\"\ndriver = \"livekit\"\n{addresses}\napi_key = \"k\"\napi_secret_env = \"KEY\"\n"
        )
    };
    for bad in [
        "api_url = \"http://h:1/?token=top-secret\"",
        "api_url = \"http://h:1/#top-secret\"",
        "api_url = \"http://h:1\"\nurl = \"wss://h?access_token=top-secret\"",
        "api_url = \"http://h:1\"\nurl = \"wss://h#top-secret\"",
    ] {
        let faults = read(&node("a", bad)).expect_err(bad).join("\n");
        assert!(faults.contains("query and fragment"), "{faults}");
        assert!(!faults.contains("top-secret"), "{faults}");
    }
    let first = node("a", "api_url = \"http://h:1\"");
    let same = node("b", "api_url = \"HTTP://h:1/\"");
    let faults = read(&format!("{first}{same}")).expect_err("one server");
    assert_eq!(faults, ["node b: has the api_url of node a"]);
    let faulty = node("a", "api_url = \"\"");
    let faults = read(&format!("{first}{faulty}")).expect_err("one id");
    assert!(
        faults.contains(&"node a: is listed twice".to_owned()),
        "{faults:?}"
    );
}

#[test]
fn only_a_file_of_limited_size_is_read() {
    let lookup = |_: &str| None;
    for path in ["/dev/zero", "/tmp"] {
        let faults = NodesFile::new(path).read(&lookup).expect_err(path);
        assert_eq!(faults, ["cannot be read: it is not a file"], "{path}");
    }
}
