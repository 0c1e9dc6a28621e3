//! `update` of a cgroup that a unit has, on a machine where there is no such unit.

use super::{Shell, content, create, limits, on_v1};
use crate::cgroup::{Cgroup, CgroupMembership};
use crate::plan::systemd::Unit;

#[test]
fn the_usage_is_checked_before_systemd_hears_of_the_limit() {
    on_v1(|| {
        let cgroup = create("checked");
        let mut shell = Shell::new("while :; do sleep 0.01; done");
        cgroup.add(shell.pid(), CgroupMembership::Outside).expect("add");
        shell.go();
        while content(&cgroup, "memory", "memory.usage_in_bytes") == "0" {
            std::thread::yield_now();
        }
        let unit = Unit { name: "orlop-no-such.scope".to_owned(), user: false };
        let of_unit = Cgroup::open(cgroup.paths()).of_unit(Some(unit));
        let config = r#"{"memory": {"limit": 1, "checkBeforeUpdate": true}}"#;
        let error = of_unit.update(&mut limits(config).expect("plan")).expect_err("more is used");
        let text = format!("{error:#}");
        assert!(
            text.starts_with("linux.resources.memory.limit: rejecting memory limit 1 <= usage "),
            "{text}"
        );
        cgroup.kill().expect("kill");
        shell.0.wait().expect("wait");
    });
}
