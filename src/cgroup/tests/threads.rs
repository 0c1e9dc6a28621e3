//! Threaded cgroups of cgroup v2.

use std::fs;

use super::{Shell, content, create, directory, on_v2, place};
use crate::cgroup::{Born, Cgroup};
use crate::plan::cgroup::CgroupPlan;

#[test]
fn a_cgroup_below_a_threaded_one_is_usable() {
    on_v2(|| {
        let mut parent = create("threads2");
        parent.keep();
        fs::create_dir(directory(&parent, "").join("sub")).expect("mkdir");
        #[allow(clippy::disallowed_methods)]
        fs::write(directory(&parent, "").join("sub/cgroup.type"), "threaded").expect("threaded");
        let CgroupPlan::Unified { dir, .. } = place("threads2/box") else { panic!("v2") };
        let cgroup = Cgroup::create(&CgroupPlan::Unified { dir, controllers: vec!["cpu".into()] }).expect("create");
        assert_eq!(content(&cgroup, "", "cgroup.type"), "threaded");
        let shell = Shell::new("exit 0");
        cgroup.add(shell.pid(), Born::Outside).expect("add");
        cgroup.kill().expect("kill");
        drop(shell);
        drop(cgroup);
        parent.destroy().expect("destroy");
    });
}
