//! Threaded cgroups of cgroup v2.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use super::{Shell, content, create, directory, on_v2, place, present};
use crate::cgroup::{Cgroup, CgroupMembership};
use crate::plan::cgroup::CgroupPlan;
use crate::plan::resources::ResourcePlan;

#[test]
fn a_cgroup_below_a_threaded_one_is_usable() {
    on_v2(|| {
        let mut parent = create("threads2");
        parent.keep();
        fs::create_dir(directory(&parent, "").join("sub")).expect("mkdir");
        #[allow(clippy::disallowed_methods)]
        fs::write(directory(&parent, "").join("sub/cgroup.type"), "threaded").expect("threaded");
        let CgroupPlan::Unified { dir, .. } = place("threads2/box") else { panic!("v2") };
        let plan = CgroupPlan::Unified { dir, controllers: vec!["cpu".into()] };
        let cgroup = Cgroup::create(&plan, &ResourcePlan::default()).expect("create");
        assert_eq!(content(&cgroup, "", "cgroup.type"), "threaded");
        // A shell that forks all the time, and one in a cgroup below.
        let mut shells = [0; 2].map(|_| Shell::new("while :; do sleep 0.01; done"));
        shells
            .iter()
            .try_for_each(|shell| cgroup.add(shell.pid(), CgroupMembership::Outside))
            .expect("add");
        let below = directory(&cgroup, "").join("below");
        fs::create_dir(&below).expect("mkdir");
        fs::write(below.join("cgroup.type"), "threaded").expect("threaded");
        fs::write(below.join("cgroup.procs"), shells[1].pid().to_string()).expect("cgroup.procs");
        shells.iter_mut().for_each(Shell::go);

        let procs = cgroup.procs().expect("procs");
        for shell in &shells {
            assert_eq!(procs.iter().filter(|pid| **pid == shell.pid()).count(), 1, "{procs:?}");
        }
        let error = cgroup.refuse_used().expect_err("not empty");
        assert!(error.to_string().contains("not empty"), "{error:#}");
        cgroup.kill().expect("kill");
        for mut shell in shells {
            assert_eq!(shell.0.wait().expect("wait").signal(), Some(9));
        }
        cgroup.destroy().expect("destroy");
        assert!(!present(&directory(&cgroup, "")));
        drop(cgroup);
        parent.destroy().expect("destroy");
    });
}
