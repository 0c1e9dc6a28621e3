//! Everything as an ordinary user, with one id and without newuidmap(1).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Stdio};

use crate::support::machine::{eventually, nginx_shaped, unique};
use crate::support::program::{self, Output};
use crate::support::{Image, Layer, Place, Registry, Stored, run};

const USER: u32 = 4711;

/// A test directory of the user.
struct Home {
    place: Place,
}

impl Home {
    fn new(image: &Image) -> Self {
        let place = Place::new();
        image.write(&place.path("layout"));
        fs::create_dir(place.path("run")).unwrap();
        for path in [place.dir.path(), &place.path("run")] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        Self { place }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let id = USER.to_string();
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", program])
            .args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
        command.env("HOME", self.place.dir.path()).env("XDG_RUNTIME_DIR", self.place.path("run"));
        command.current_dir(self.place.dir.path());
        command
    }

    fn image(&self, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_orlop-image"), args).output().unwrap().into()
    }

    fn orlop(&self, args: &[&str]) -> Output {
        self.command(program::orlop().to_str().unwrap(), args).output().unwrap().into()
    }

    /// `run` of an image with the store in the home directory.
    fn run(&self, source: &str, more: &[&str], args: &[&str]) -> Output {
        let orlop = program::orlop();
        let all = [
            &["run", "--quiet", "--runtime", orlop.to_str().unwrap()][..],
            more,
            &[source, "--"],
            args,
        ];
        self.image(&all.concat())
    }
}

#[test]
fn run_from_a_layout_and_from_a_registry() {
    let home = Home::new(&nginx_shaped());
    let registry = Registry::start();
    run([
        "copy",
        "--insecure",
        "--quiet",
        &format!("oci:{}", home.place.path("layout").display()),
        &registry.image("a:one"),
    ])
    .ok();
    let store = home.place.path(".local/share/orlop-image");
    for source in ["oci:layout", &registry.image("a:one")] {
        let sh = ["--insecure", "--entrypoint", "/bin/sh"];
        for _ in 0..2 {
            let output = home.run(source, &["--insecure"], &["cat", "/etc/motd"]).ok();
            assert_eq!(output.stdout, "entrypoint: cat /etc/motd\nnginx\n");
        }
        // The user is root and there are no other ids. Files that layers have removed do not exist,
        // and he may change files of other owners.
        let look = "id -u; while read at of count; do echo $count; done </proc/self/uid_map; test ! -e /etc/gone; rm -r /data; echo x >/etc/motd; cat /etc/motd";
        let output = home.run(source, &sh, &["-c", look]).ok();
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        assert_eq!(words, ["0", "1", "x"], "himself, one id, what was written");
        assert_eq!(
            home.run(source, &sh, &["-c", "test -e /data && cat /etc/motd"]).ok().stdout,
            "nginx\n"
        );
        assert_eq!(home.run(source, &sh, &["-c", "exit 42"]).status, 42);
        let other =
            home.run(source, &["--insecure", "--user", "nginx", "--entrypoint", "/bin/id"], &[]);
        assert!(
            other.status == 1 && other.stderr.contains("101"),
            "an id that nobody has given him: {other:?}"
        );
    }
    assert_eq!(fs::metadata(&store).unwrap().uid(), USER);
    assert_eq!(fs::read_dir(store.join("containers")).unwrap().count(), 0);
    let list = home.image(&["store", "list"]).ok();
    assert_eq!(list.stdout.lines().count(), 3, "{list:?}");
    eventually(|| {
        fs::read_dir(&store)
            .unwrap()
            .all(|e| !e.unwrap().file_name().to_string_lossy().starts_with(".gone"))
    });
    home.image(&["store", "gc", "--all", "--runtime", program::orlop().to_str().unwrap()]).ok();
    let left = fs::read_dir(store.join("layers")).unwrap().count();
    assert_eq!(left, 0, "also what is closed to him");
}

/// A directory without permissions, even for its owner, can be made and removed.
#[test]
fn closed_directories() {
    let closed = Layer::new().dir("closed", 0).file("closed/file", 0, b"x").owned(
        "of-another",
        0o600,
        (7, 8),
        b"y",
    );
    let home = Home::new(&nginx_shaped().layer(&closed, Stored::Gzip));
    let script = "cat /closed/file /of-another; mkdir -p /deep/er; chmod 0 /deep/er /deep";
    let output = home.run("oci:layout", &["--entrypoint", "/bin/sh"], &["-c", script]);
    assert!(output.stdout == "xy", "{output:?}");
    let store = home.place.path(".local/share/orlop-image");
    eventually(|| {
        fs::read_dir(&store)
            .unwrap()
            .all(|e| !e.unwrap().file_name().to_string_lossy().starts_with(".gone"))
    });
}

#[test]
fn unpack_and_run_the_bundle() {
    let home = Home::new(&nginx_shaped());
    let orlop = program::orlop();
    home.image(&[
        "unpack",
        "oci:layout",
        "bundle",
        "--rootless",
        "--runtime",
        orlop.to_str().unwrap(),
    ])
    .ok();
    let file = home.place.path("bundle/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], USER);
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["/docker-entrypoint.sh", "id", "-u"]);
    fs::write(&file, config.to_string()).unwrap();
    let output = home.orlop(&["run", "--bundle", "bundle", &unique("rootless")]).ok();
    assert_eq!(output.stdout, "entrypoint: id -u\n0\n");
    // What only root can do fails.
    home.image(&["unpack", "oci:layout", "other", "--runtime", orlop.to_str().unwrap()])
        .refused()
        .says("rootless");
    assert!(!home.place.path("other").exists());
}
