//! `process.scheduler`, `process.ioPriority`

use std::fs;
use std::process::Command;

use crate::support::{Bundle, Container, Output, Value, cgroups, json};

fn sleeping(bundle: Bundle) -> Container {
    bundle.args(["sleep", "600"]).run_detached()
}

/// What the host's program says of a process.
#[track_caller]
fn ask(program: &str, pid: i32) -> String {
    let out = Command::new(program).args(["-p", &pid.to_string()]).output().unwrap();
    assert!(out.status.success(), "{program}: {out:?}");
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

/// The policy, the priority, and the times of SCHED_DEADLINE.
#[track_caller]
fn policy(pid: i32) -> Vec<String> {
    ask("chrt", pid).lines().filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect()
}

/// Field 19 of /proc/PID/stat.
fn nice(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
}

/// A process of `exec --process`: its pid on the host.
#[track_caller]
fn exec_sleep(c: &Container, changes: &Value) -> i32 {
    let mut process = json!({ "args": ["sleep", "600"], "cwd": "/", "env": ["PATH=/bin"] });
    process.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    fs::write(c.bundle.scratch("process.json"), process.to_string()).unwrap();
    let _ = fs::remove_file(c.bundle.scratch("pid"));
    c.exec(&["-d", "--pid-file", "pid", "--process", "process.json"], &[]).silent();
    c.bundle.read("pid").parse().unwrap()
}

/// Realtime needs time of its own in a cgroup v1 with a `cpu` controller.
fn scheduled(scheduler: Value) -> Bundle {
    Bundle::busybox().on_cgroup_v2().set("/process/scheduler", scheduler)
}

const DEADLINE: [u64; 3] = [42_000, 100_000, 1_000_000];

fn deadline() -> Value {
    let [runtime, deadline, period] = DEADLINE;
    json!({
        "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": runtime, "deadline": deadline, "period": period,
    })
}

const DEADLINE_AS_SHOWN: [&str; 3] =
    ["SCHED_DEADLINE|SCHED_RESET_ON_FORK", "0", "42000/100000/1000000"];

#[test]
fn every_policy_is_set() {
    differs!();
    for (scheduler, shown) in [
        (json!({ "policy": "SCHED_OTHER" }), ["SCHED_OTHER", "0"]),
        (json!({ "policy": "SCHED_BATCH" }), ["SCHED_BATCH", "0"]),
        (json!({ "policy": "SCHED_IDLE" }), ["SCHED_IDLE", "0"]),
        (json!({ "policy": "SCHED_FIFO", "priority": 7 }), ["SCHED_FIFO", "7"]),
        (json!({ "policy": "SCHED_RR", "priority": 1 }), ["SCHED_RR", "1"]),
        (
            json!({ "policy": "SCHED_RR", "priority": 99, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
            ["SCHED_RR|SCHED_RESET_ON_FORK", "99"],
        ),
    ] {
        let c = sleeping(scheduled(scheduler));
        // Kernels of late show the slice of ordinary policies besides.
        assert_eq!(policy(c.pid())[..2], shown);
    }
    assert_eq!(policy(sleeping(scheduled(deadline())).pid()), DEADLINE_AS_SHOWN);
}

#[test]
fn the_nice_value_is_set() {
    differs!();
    for (name, value) in [("SCHED_OTHER", 5), ("SCHED_OTHER", -5), ("SCHED_BATCH", 19)] {
        let c = sleeping(scheduled(json!({ "policy": name, "nice": value })));
        assert_eq!(nice(c.pid()), value, "{name}");
    }
    // The specification: not set is 0, whatever the runtime's own is.
    let c = sleeping(
        scheduled(json!({ "policy": "SCHED_OTHER" })).after("renice -n 3 -p $$ > /dev/null"),
    );
    assert_eq!(nice(c.pid()), 0);
}

#[test]
fn without_a_scheduler_all_stays_as_it_is() {
    let c = sleeping(Bundle::busybox().after("renice -n 3 -p $$ > /dev/null"));
    assert_eq!(nice(c.pid()), 3);
}

fn cpus_allowed(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned()
}

/// What the runtime's caller is confined to is not meant for the container.
#[test]
fn the_cpus_are_not_the_callers() {
    differs!();
    let all = cpus_allowed(std::process::id().cast_signed());
    let bundle = Bundle::busybox().after("set -- taskset -c 0 \"$@\"");
    let c = sleeping(bundle);
    assert_eq!(cpus_allowed(c.pid()), all);
}

#[test]
fn exec_has_the_containers_scheduler_or_its_own() {
    differs!();
    let c = sleeping(scheduled(json!({ "policy": "SCHED_BATCH", "nice": 7 })));
    let pid = exec_sleep(&c, &json!({}));
    assert_eq!((&policy(pid)[0][..], nice(pid)), ("SCHED_BATCH", 7));
    assert_eq!(policy(exec_sleep(&c, &json!({ "scheduler": deadline() }))), DEADLINE_AS_SHOWN);
    let pid = exec_sleep(&c, &json!({ "scheduler": { "policy": "SCHED_OTHER" } }));
    assert_eq!((&policy(pid)[0][..], nice(pid)), ("SCHED_OTHER", 0));
}

/// Rights over the host count, not those that root of a user namespace has.
#[test]
fn a_user_namespace_and_an_ordinary_user_are_no_obstacle() {
    differs!();
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    let bundle = scheduled(json!({ "policy": "SCHED_FIFO", "priority": 3 }))
        .push("/linux/namespaces", json!({ "type": "user" }))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping)
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
        .set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 1 }));
    let c = sleeping(bundle);
    assert_eq!(policy(c.pid()), ["SCHED_FIFO", "3"]);
    assert_eq!(ask("ionice", c.pid()), "realtime: prio 1");
}

#[test]
fn a_deadline_on_some_of_the_cpus_is_refused() {
    differs!();
    needs!(std::thread::available_parallelism().unwrap().get() > 1, "second CPU");
    needs!(cgroups::has("cpuset"), "cpuset controller");
    let bundle = Bundle::busybox().set("/process/scheduler", deadline());
    let out = bundle.set("/linux/resources/cpu/cpus", "0").refused();
    out.says("process scheduler can't be used together with AllowedCPUs")
        .names("process.scheduler");
}

#[test]
fn a_realtime_policy_without_the_right_to_it_leaves_nothing() {
    differs!();
    let drop = "exec setpriv --bounding-set=-sys_nice \"$@\"";
    let bundle = scheduled(json!({ "policy": "SCHED_FIFO", "priority": 1 })).after(drop);
    bundle
        .refused()
        .because("operation not permitted")
        .says("CAP_SYS_NICE")
        .names("process.scheduler");
}

#[test]
fn bad_schedulers_are_refused() {
    differs!();
    for (scheduler, key, text) in [
        (json!({}), "scheduler.policy", "scheduler policy is required"),
        (json!({ "policy": "" }), "scheduler.policy", "scheduler policy is required"),
        (json!({ "policy": "FIFO" }), "scheduler.policy", "invalid scheduler policy: FIFO"),
        (json!({ "policy": "SCHED_ISO" }), "scheduler.policy", "SCHED_ISO"),
        (
            json!({ "policy": "SCHED_OTHER", "nice": 20 }),
            "scheduler.nice",
            "invalid scheduler.nice: 20",
        ),
        (
            json!({ "policy": "SCHED_BATCH", "nice": -21 }),
            "scheduler.nice",
            "invalid scheduler.nice: -21",
        ),
        (
            json!({ "policy": "SCHED_OTHER", "priority": 1 }),
            "scheduler.priority",
            "can only be specified for SchedFIFO",
        ),
        (json!({ "policy": "SCHED_FIFO" }), "scheduler.priority", "invalid scheduler.priority: 0"),
        (
            json!({ "policy": "SCHED_OTHER", "period": 1 }),
            "scheduler",
            "can only be specified for SchedDeadline",
        ),
        (json!({ "policy": "SCHED_DEADLINE" }), "scheduler", "runtime 0, deadline 0 and period 0"),
        (
            json!({ "policy": "SCHED_IDLE", "flags": ["X"] }),
            "scheduler.flags[0]",
            "invalid scheduler flag: X",
        ),
        (json!({ "policy": 7 }), "scheduler.policy", "expected a string"),
    ] {
        Bundle::busybox().set("/process/scheduler", scheduler).refused().says(text).names(key);
    }
}

#[test]
fn every_io_priority_is_set() {
    differs!();
    for (priority, shown) in [
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": 4 }), "best-effort: prio 4"),
        (json!({ "class": "IOPRIO_CLASS_BE", "priority": 0 }), "best-effort: prio 0"),
        (json!({ "class": "IOPRIO_CLASS_RT", "priority": 7 }), "realtime: prio 7"),
        (json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 4 }), "idle"),
        (json!({ "class": "IOPRIO_CLASS_IDLE" }), "idle"),
    ] {
        let c = sleeping(Bundle::busybox().set("/process/ioPriority", priority));
        assert_eq!(ask("ionice", c.pid()), shown);
    }
}

#[test]
fn exec_has_the_containers_io_priority_or_its_own() {
    differs!();
    let priority = json!({ "class": "IOPRIO_CLASS_BE", "priority": 3 });
    let c = sleeping(Bundle::busybox().set("/process/ioPriority", priority));
    assert_eq!(ask("ionice", exec_sleep(&c, &json!({}))), "best-effort: prio 3");
    let own = json!({ "ioPriority": { "class": "IOPRIO_CLASS_IDLE" } });
    assert_eq!(ask("ionice", exec_sleep(&c, &own)), "idle");
    // What the program starts has it too.
    assert_eq!(c.exec(&[], &["sh", "-c", "ionice; true"]).ok().line(), "best-effort: prio 3");
}

#[test]
fn bad_io_priorities_are_refused() {
    differs!();
    let refused = |priority: Value| -> Output {
        Bundle::busybox().set("/process/ioPriority", priority).refused()
    };
    for priority in [-1, 8, 1_i64 << 40] {
        let out = refused(json!({ "class": "IOPRIO_CLASS_BE", "priority": priority }));
        out.says(&format!("invalid ioPriority.Priority: {priority}"))
            .names("process.ioPriority.priority");
    }
    for class in ["", "BE", "IOPRIO_CLASS_NONE"] {
        let out = refused(json!({ "class": class, "priority": 1 }));
        out.says(&format!("invalid ioPriority.Class: {class:?}")).names("process.ioPriority.class");
    }
    refused(json!({ "priority": 1 })).says("invalid ioPriority.Class: \"\"");
}

#[test]
fn a_bad_process_of_exec_is_refused() {
    differs!();
    let c = sleeping(Bundle::busybox());
    for (changes, text) in [
        (json!({ "scheduler": { "policy": "SCHED_RR" } }), "invalid scheduler.priority: 0"),
        (json!({ "ioPriority": { "class": "x" } }), "invalid ioPriority.Class: \"x\""),
    ] {
        let mut process = json!({ "args": ["true"], "cwd": "/" });
        process.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        fs::write(c.bundle.scratch("process.json"), process.to_string()).unwrap();
        c.exec(&["--process", "process.json"], &[]).exec_refused().says(text);
    }
}
