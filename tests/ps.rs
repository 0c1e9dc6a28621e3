//! `ps`

use crate::support::{Bundle, Container, Value, cgroups, json};

/// A container of two processes.
fn two() -> Container {
    let c = Bundle::busybox().script("sleep 61 & echo ready; sleep 62 & wait").create();
    c.start();
    c.wait_for("ready\n");
    crate::support::eventually(std::time::Duration::from_secs(5), || pids(&c).len() == 3);
    c
}

fn pids(c: &Container) -> Vec<i64> {
    let out = c.bundle.call(&["ps", "--format", "json", c.id()]).ok();
    assert_eq!(out.stdout.matches('\n').count(), 1, "{out:?}");
    let list: Value = serde_json::from_str(&out.stdout).unwrap();
    list.as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap()).collect()
}

#[test]
fn json_is_one_line_of_host_pids() {
    let c = two();
    let pids = pids(&c);
    assert_eq!(pids.len(), 3);
    assert!(pids.contains(&i64::from(c.pid())));
    for pid in pids {
        assert!(std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(c.id()));
    }
}

#[test]
fn the_table_is_that_of_ps_ef() {
    let c = two();
    let out = c.verb("ps").ok();
    let lines = out.lines();
    assert!(lines[0].starts_with("UID ") && lines[0].ends_with(" CMD"), "{out:?}");
    assert_eq!(lines.len(), 4, "{out:?}");
    assert!(out.stdout.contains("sleep 61") && out.stdout.contains("sleep 62"), "{out:?}");
    let pids = pids(&c);
    for line in &lines[1..] {
        assert!(
            pids.contains(&line.split_whitespace().nth(1).unwrap().parse().unwrap()),
            "{out:?}"
        );
    }
}

#[test]
fn options_behind_the_id_go_to_ps() {
    let c = two();
    let out = c.bundle.call(&["ps", c.id(), "-e", "-o", "pid,comm"]).ok();
    let rows: Vec<Vec<&str>> =
        out.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PID", "COMMAND"]);
    assert_eq!(rows[1], [c.pid().to_string().as_str(), "sh"], "{out:?}");
    assert_eq!(rows.len(), 4, "{out:?}");
    // These letters are flags of ours, too.
    let out = c.bundle.call(&["ps", c.id(), "-f", "-h"]);
    assert!(!out.stdout.contains("CONTAINER-ID"), "{out:?}");
    // As go-runc sends them: all in one argument.
    let out = c.bundle.call(&["ps", "--format", "table", c.id(), "-eopid,args"]).ok();
    assert_eq!(out.lines().len(), 4, "{out:?}");
}

#[test]
fn a_table_without_pids_is_refused() {
    let c = two();
    c.bundle
        .call(&["ps", c.id(), "-o", "comm"])
        .refused()
        .says("couldn't find PID field in ps output");
}

#[test]
fn what_ps_complains_of_is_told() {
    let c = two();
    c.bundle.call(&["ps", c.id(), "--no-such-option"]).refused().says("unknown gnu long option");
}

#[test]
fn an_unknown_format_is_refused() {
    let c = Bundle::busybox().create();
    c.bundle.call(&["ps", "-f", "yaml", c.id()]).refused().says("invalid format option");
}

#[test]
fn a_stopped_container_has_no_processes() {
    let c = Bundle::busybox().create();
    c.finish();
    assert_eq!(c.bundle.call(&["ps", "-f", "json", c.id()]).ok().stdout, "null\n");
    assert_eq!(c.verb("ps").ok().lines().len(), 1);
}

#[test]
fn a_paused_and_a_created_container_have_processes() {
    let c = Bundle::busybox().create();
    assert_eq!(json!(pids(&c)), json!([c.pid()]));
    c.verb("pause").silent();
    assert_eq!(json!(pids(&c)), json!([c.pid()]));
}

#[test]
fn processes_of_sub_cgroups_count() {
    needs!(
        !cgroups::is_pure_v2(),
        "cgroup v1 hierarchy that may be divided while it has processes"
    );
    let c = two();
    let sub = cgroups::v1("devices", c.id()).join("sub");
    std::fs::create_dir(&sub).unwrap();
    let child = *pids(&c).last().unwrap();
    std::fs::write(sub.join("cgroup.procs"), child.to_string()).unwrap();
    assert!(pids(&c).contains(&child));
    c.delete_by_force();
    c.bundle.assert_nothing_left();
}

#[test]
fn an_absent_container_is_refused() {
    Bundle::busybox().verb("ps").refused().says("container does not exist");
}
