//! Thousands of containers one after the other: the machine is afterwards as it was before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Bundle, cgroups, eventually, soak};

/// 10,000 of `make soak`, some of `make test`, or `$ORLOP_LOOP`.
fn lifecycles() -> usize {
    let wanted = std::env::var("ORLOP_LOOP").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(if soak() { 10_000 } else { 40 })
}

/// What a container could use up for good.
#[derive(Debug)]
struct Machine {
    /// Of the tests.
    descriptors: usize,
    mounts: usize,
    /// Names below /run.
    run: usize,
    /// In all hierarchies, those that are dying as well, as the kernel counts them.
    cgroups: u64,
    /// Open files of the whole machine.
    files: u64,
    /// Memory of the kernel that it does not get back by itself, in KiB: SUnreclaim, Percpu and
    /// KernelStack.
    kernel: u64,
}

impl Machine {
    fn now() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory: BTreeMap<String, u64> =
            text("/proc/meminfo").lines().filter_map(pair).collect();
        let of = |name: &str| memory.get(name).copied().unwrap_or_default();
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        let count = |line: &str| number(line.split_whitespace().nth(2));
        Machine {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mounts: text("/proc/self/mountinfo").lines().count(),
            run: names_below(Path::new("/run")),
            cgroups: text("/proc/cgroups").lines().skip(1).map(count).max().unwrap_or_default(),
            files: number(text("/proc/sys/fs/file-nr").split_whitespace().next()),
            kernel: of("SUnreclaim") + of("Percpu") + of("KernelStack"),
        }
    }
}

/// `SUnreclaim:  1234 kB`
fn pair(line: &str) -> Option<(String, u64)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.split_whitespace().next()?.parse().ok()?))
}

fn names_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            1 + if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names_below(&entry.path())
            } else {
                0
            }
        })
        .sum()
}

/// The cgroups below `parent` that the kernel still has, though nobody can see them.
fn dying(parent: &str) -> u64 {
    let stat = cgroups::named(parent)
        .into_iter()
        .find_map(|dir| fs::read_to_string(dir.join("cgroup.stat")).ok());
    let stat = stat.unwrap_or_default();
    stat.lines()
        .find_map(|line| line.strip_prefix("nr_dying_descendants ")?.parse().ok())
        .unwrap_or_default()
}

fn lifecycle(bundle: &Bundle, id: &str) {
    let path = bundle.path();
    let path = path.to_str().unwrap();
    bundle.call(&["create", "--bundle", path, id]).silent();
    bundle.call(&["start", id]).silent();
    bundle.call(&["exec", id, "true"]).silent();
    bundle.call(&["kill", id, "KILL"]).silent();
    bundle.call(&["delete", "--force", id]).silent();
}

#[test]
fn the_machine_stays_as_it_is() {
    const WORKERS: usize = 3;
    let count = lifecycles();
    let parent = format!("t{}-soak", std::process::id());
    let in_parent = |bundle: Bundle| {
        let path = format!("/{parent}/{}", bundle.name());
        bundle.set("/linux/cgroupsPath", path)
    };
    let long = in_parent(Bundle::busybox().args(["sleep", "100"]));
    // The parents of cgroups stay, so they are made before.
    long.write_config();
    lifecycle(&long, long.id());
    let short: Vec<Bundle> =
        (0..WORKERS).map(|_| in_parent(Bundle::busybox().args(["true"]))).collect();
    let long: Vec<Bundle> =
        (0..WORKERS).map(|_| in_parent(Bundle::busybox().args(["sleep", "100"]))).collect();
    long.iter().chain(&short).for_each(Bundle::write_config);
    give_back();
    let (before, begin) = (Machine::now(), Instant::now());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (short, long) in short.iter().zip(&long) {
            scope.spawn(|| live(short, long, &done));
        }
    });
    for bundle in long.iter().chain(&short) {
        bundle.assert_nothing_left();
    }
    give_back();
    let few_die = eventually(Duration::from_secs(60), || dying(&parent) <= 20);
    let after = Machine::now();
    eprintln!(
        "{count} lifecycles in {:?}\nbefore {before:?}\nafter  {after:?}\ndying {}",
        begin.elapsed(),
        dying(&parent)
    );
    for dir in cgroups::named(&parent) {
        fs::remove_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    }
    assert!(few_die, "cgroups that nobody sees");
    assert!(after.descriptors <= before.descriptors + 20, "descriptors");
    if soak() {
        // Nothing else runs then, but the machine itself does.
        assert!(after.mounts <= before.mounts, "mounts");
        assert!(after.run <= before.run + 10, "names below /run");
        assert!(after.cgroups <= before.cgroups + 100, "cgroups");
        assert!(after.files <= before.files + 1000, "open files");
        assert!(after.kernel <= before.kernel + 64 * 1024, "memory of the kernel");
    }
}

/// Makes containers until `done` is the number that is wanted.
fn live(short: &Bundle, long: &Bundle, done: &AtomicUsize) {
    loop {
        let number = done.fetch_add(1, Ordering::Relaxed);
        if number >= lifecycles() {
            break;
        }
        if number.is_multiple_of(2) {
            lifecycle(long, long.id());
        } else {
            short.call(&["run", "--bundle", short.path().to_str().unwrap(), short.id()]).silent();
        }
        if number.is_multiple_of(500) {
            forget_output(short);
            forget_output(long);
            eprintln!("{number}: {:?}, dying {}", Machine::now(), dying_now(long));
        }
    }
}

/// A page of a file keeps the memory cgroup that first read it, until the kernel needs the page for
/// something else.
fn give_back() {
    if soak() {
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    }
}

fn dying_now(bundle: &Bundle) -> u64 {
    let parent = bundle
        .config
        .pointer("/linux/cgroupsPath")
        .and_then(|path| path.as_str()?.split('/').nth(1));
    parent.map_or(0, dying)
}

/// Each call leaves two files.
fn forget_output(bundle: &Bundle) {
    for entry in fs::read_dir(bundle.dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let old = entry.metadata().is_ok_and(|m| {
            m.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 30))
        });
        if old && (name.starts_with("stdout.") || name.starts_with("stderr.")) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
