//! `list`

use crate::support::{Bundle, Value, json};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[test]
fn the_table_has_a_row_for_each_container() {
    let c = Bundle::busybox().args(["sleep", "60"]).create();
    let out = c.bundle.call(&["list"]).ok();
    let state = c.state();
    let rows: Vec<Vec<&str>> =
        out.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let bundle = c.bundle.path();
    let created = state["created"].as_str().unwrap();
    assert_eq!(
        rows[1],
        [c.id(), &c.pid().to_string(), "created", bundle.to_str().unwrap(), created, "root"],
        "{out:?}"
    );
    assert_eq!(rows.len(), 2);
    assert_eq!(out.stderr, "");
}

#[test]
fn columns_are_at_least_twelve_wide() {
    let bundle = Bundle::busybox();
    std::fs::create_dir(bundle.state_root()).unwrap();
    let out = bundle.call(&["list"]).ok();
    assert_eq!(out.stdout, "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
}

#[test]
fn columns_grow_with_their_cells() {
    let bundle = Bundle::busybox();
    let id = format!("{}-a-rather-long-name", bundle.id());
    let c = bundle.with_id(&id).create();
    let out = c.bundle.call(&["list"]).ok();
    let lines = out.lines();
    assert_eq!(lines[0].find("PID"), Some(id.len() + 3), "{out:?}");
    assert_eq!(
        lines[0].find("CREATED"),
        lines[1].find(c.state()["created"].as_str().unwrap()),
        "{out:?}"
    );
}

#[test]
fn json_is_one_line_with_the_fields_of_state_and_the_owner() {
    let bundle = Bundle::busybox().set("/annotations/org.example.key", "value");
    let c = bundle.args(["sleep", "60"]).create();
    c.start();
    for flags in [&["--format", "json"][..], &["-f", "json"], &["--format=json"]] {
        let args: Vec<&str> = ["list"].iter().chain(flags).copied().collect();
        let out = c.bundle.call(&args).ok();
        assert_eq!(out.stdout.matches('\n').count(), 1, "{out:?}");
        let mut expected = c.state();
        expected["owner"] = json!("root");
        assert_eq!(parse(&out.stdout), json!([expected]));
    }
}

#[test]
fn json_of_no_containers_is_null() {
    let bundle = Bundle::busybox();
    std::fs::create_dir(bundle.state_root()).unwrap();
    assert_eq!(bundle.call(&["list", "-f", "json"]).ok().stdout, "null\n");
}

#[test]
fn quiet_prints_ids_in_order_whatever_the_format() {
    let first = Bundle::busybox();
    let root = first.state_root();
    let a = first.create();
    let second = Bundle::busybox().global(["--root", root.to_str().unwrap()]);
    let id = format!("{}-b", a.id());
    let second = second.with_id(&id);
    second.begin("create", &[]).wait().silent();
    for flags in [&["-q"][..], &["--quiet"], &["-q", "-f", "json"]] {
        let args: Vec<&str> = ["list"].iter().chain(flags).copied().collect();
        assert_eq!(a.bundle.call(&args).ok().lines(), [a.id(), &id]);
    }
    second.call(&["delete", &id]).silent();
}

#[test]
fn a_stopped_container_has_pid_0() {
    let c = Bundle::busybox().create();
    c.finish();
    let out = c.bundle.call(&["list", "-f", "json"]).ok();
    let list = parse(&out.stdout);
    assert_eq!((&list[0]["status"], &list[0]["pid"]), (&json!("stopped"), &json!(0)), "{out:?}");
}

#[test]
fn the_owner_is_that_of_the_state_directory() {
    let c = Bundle::busybox().create();
    let dir = c.bundle.state_root().join(c.id());
    std::os::unix::fs::chown(&dir, Some(54321), None).unwrap();
    let out = c.bundle.call(&["list", "-f", "json"]).ok();
    assert_eq!(parse(&out.stdout)[0]["owner"], "#54321", "{out:?}");
}

#[test]
fn what_is_no_container_is_left_out() {
    let c = Bundle::busybox().create();
    let root = c.bundle.state_root();
    std::fs::create_dir(root.join("nothing")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    assert_eq!(c.bundle.call(&["list", "-q"]).ok().lines(), [c.id()]);
}

#[test]
fn a_container_that_cannot_be_read_does_not_hide_the_others() {
    let c = Bundle::busybox().create();
    let broken = c.bundle.state_root().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("state.json"), "{").unwrap();
    let out = c.bundle.call(&["list", "-q"]).ok();
    assert_eq!(out.lines(), [c.id()]);
    assert!(out.stderr.contains("broken"), "{out:?}");
}

#[test]
fn an_unknown_format_is_refused() {
    let bundle = Bundle::busybox();
    std::fs::create_dir(bundle.state_root()).unwrap();
    bundle.call(&["list", "--format", "yaml"]).refused().says("invalid format option");
}

#[test]
fn a_state_root_that_is_a_file_is_refused() {
    let bundle = Bundle::busybox();
    std::fs::write(bundle.state_root(), "").unwrap();
    bundle.call(&["list"]).refused();
}

#[test]
fn a_state_root_that_is_not_there_is_refused() {
    differs!();
    Bundle::busybox().call(&["list"]).refused().because("no such file or directory");
}
