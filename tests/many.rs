//! Many containers at once: made, listed and deleted, at a cost for each that does not grow with
//! their number.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::support::{Bundle, Value, cgroups};

/// 60 containers, or `$ORLOP_MANY`.
fn count() -> usize {
    std::env::var("ORLOP_MANY").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// The containers of one bundle; deleted when dropped.
struct Many {
    bundle: Bundle,
    ids: Vec<String>,
}

impl Many {
    fn id(&self, n: usize) -> String {
        format!("{}-{n}", self.bundle.id())
    }

    fn create_up_to(&mut self, count: usize) {
        for n in self.ids.len()..count {
            let (path, id) = (self.bundle.path(), self.id(n));
            self.bundle.call(&["create", "--bundle", path.to_str().unwrap(), &id]).silent();
            self.ids.push(id);
        }
    }

    /// The time on a CPU that a call takes: what other work there is on the machine does not count.
    #[track_caller]
    fn cost(&self, args: &[&str]) -> Duration {
        let call = self.bundle.start(args);
        // It stays a zombie, which /proc knows, until it is waited for again.
        waitid(Id::Pid(Pid::from_raw(call.pid())), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            .unwrap();
        let times = std::fs::read_to_string(format!("/proc/{}/schedstat", call.pid())).unwrap();
        let nanoseconds = times.split(' ').next().unwrap().parse().unwrap();
        call.wait().ok();
        Duration::from_nanos(nanoseconds)
    }

    /// The least of several, for each container.
    fn cost_of_list(&self) -> Duration {
        let costs = (0..5).map(|_| self.cost(&["list"]));
        costs.min().unwrap() / u32::try_from(self.ids.len()).unwrap()
    }

    /// The least of several.
    fn cost_of_delete(&mut self) -> Duration {
        let ids = self.ids.split_off(self.ids.len() - 5);
        ids.iter().map(|id| self.cost(&["delete", "--force", id])).min().unwrap()
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        for id in &self.ids {
            self.bundle.call(&["delete", "--force", id]);
        }
    }
}

#[test]
fn each_costs_the_same_however_many_there_are() {
    let count = count();
    let few = count.div_ceil(5).max(10);
    let bundle = Bundle::busybox().args(["sleep", "600"]);
    bundle.write_config();
    let mut many = Many { bundle, ids: Vec::new() };
    many.create_up_to(few);
    let list_of_few = many.cost_of_list();
    let delete_of_few = many.cost_of_delete();

    many.create_up_to(count);
    let list_of_many = many.cost_of_list();
    let listed: Value =
        serde_json::from_str(&many.bundle.call(&["list", "--format", "json"]).ok().stdout).unwrap();
    let mut listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|each| each["id"].as_str().unwrap()).collect();
    let mut ids: Vec<&str> = many.ids.iter().map(String::as_str).collect();
    listed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(listed, ids);
    let hierarchies = cgroups::named(&many.ids[0]).len();
    assert_eq!(
        cgroups::beginning_with(&format!("{}-", many.bundle.id())).len(),
        count * hierarchies
    );

    let delete_of_many = many.cost_of_delete();
    let seen = format!(
        "list {list_of_few:?} → {list_of_many:?} each, delete {delete_of_few:?} → {delete_of_many:?}"
    );
    eprintln!("{few} → {count} containers: {seen}");
    // Caches of the processor and of the kernel serve few better than many; what grows with their
    // number grows fivefold.
    assert!(list_of_many < list_of_few * 5 / 2 && delete_of_many < delete_of_few * 5 / 2, "{seen}");

    for id in std::mem::take(&mut many.ids) {
        many.bundle.call(&["delete", "--force", &id]).silent();
    }
    assert_eq!(many.bundle.call(&["list", "--quiet"]).ok().stdout, "");
    assert_eq!(cgroups::beginning_with(&format!("{}-", many.bundle.id())).len(), 0);
    assert_eq!(many.bundle.processes(), Vec::<i32>::new());
    assert_eq!(many.bundle.state_names(), Vec::<String>::new());
    many.bundle.assert_nothing_left();
}
