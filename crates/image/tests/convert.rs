//! config.json of an unpacked image (conversion.md of image-spec).

use std::fs;

use serde_json::Value;

use crate::support::{Image, Layer, Place, json, program};

fn passwd() -> Layer {
    Layer::new()
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nweb:x:101:102::/:/bin/false\n")
        .file("etc/group", 0o644, b"root:x:0:\nadm:x:4:web\nweb:x:102:\n")
}

#[track_caller]
fn config_of(image: &Image) -> Value {
    let place = Place::new();
    place.rootfs(image);
    serde_json::from_slice(&fs::read(place.path("bundle/config.json")).unwrap()).unwrap()
}

/// The output of `orlop spec`.
fn template() -> Value {
    let dir = tempfile::tempdir().unwrap();
    crate::support::judge(
        program::orlop().to_str().unwrap(),
        &["spec", "--bundle", dir.path().to_str().unwrap()],
    );
    serde_json::from_slice(&fs::read(dir.path().join("config.json")).unwrap()).unwrap()
}

#[test]
fn everything_an_image_can_say() {
    let image = Image::of(&[passwd()])
        .config(json!({
            "User": "web",
            "ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "53/udp": {}},
            "Env": ["PATH=/opt/bin", "A=b=c", "EMPTY="],
            "Entrypoint": ["/docker-entrypoint.sh", "-v"],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "Volumes": {"/var/lib/data": {}, "/cache": {}},
            "WorkingDir": "/srv",
            "Labels": {"maintainer": "us", "org.opencontainers.image.author": "label wins"},
            "StopSignal": "SIGQUIT",
        }))
        .more(json!({
            "created": "2026-11-23T09:00:00.123456789Z",
            "author": "somebody",
            "variant": "v2",
            "os.version": "12",
            "os.features": ["a", "b"],
        }));
    let config = config_of(&image);
    let process = &config["process"];
    assert_eq!(
        process["args"],
        json!(["/docker-entrypoint.sh", "-v", "nginx", "-g", "daemon off;"])
    );
    assert_eq!(process["env"], json!(["PATH=/opt/bin", "A=b=c", "EMPTY=", "TERM=xterm"]));
    assert_eq!(process["cwd"], "/srv");
    assert_eq!(process["user"], json!({"uid": 101, "gid": 102, "additionalGids": [4]}));
    assert_eq!(
        config["annotations"],
        json!({
            "maintainer": "us",
            "org.opencontainers.image.architecture": "amd64",
            "org.opencontainers.image.author": "label wins",
            "org.opencontainers.image.created": "2026-11-23T09:00:00.123456789Z",
            "org.opencontainers.image.exposedPorts": "443/tcp,53/udp,80/tcp",
            "org.opencontainers.image.os": "linux",
            "org.opencontainers.image.os.features": "a,b",
            "org.opencontainers.image.os.version": "12",
            "org.opencontainers.image.stopSignal": "SIGQUIT",
            "org.opencontainers.image.variant": "v2",
        })
    );
    let volumes: Vec<&Value> = config["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .take(2)
        .map(|mount| &mount["destination"])
        .collect();
    assert_eq!(volumes, ["/var/lib/data", "/cache"]);
}

/// All other values are those of the runtime, except those that convert.rs names.
#[test]
fn nothing_said_is_what_spec_gives() {
    for config in [
        json!({}),
        json!({"Cmd": null, "Env": null, "User": "", "WorkingDir": "", "Volumes": null}),
    ] {
        let mut expected = template();
        let found = config_of(&Image::of(&[Layer::new().dir("a", 0o755)]).config(config));
        expected["root"]["readonly"] = json!(false);
        expected["process"]["capabilities"] = found["process"]["capabilities"].clone();
        expected["annotations"] = found["annotations"].clone();
        assert_eq!(found, expected);
        assert_eq!(found["annotations"].as_object().unwrap().len(), 2, "os and architecture");
    }
}

#[test]
fn entrypoint_and_cmd() {
    for (entrypoint, cmd, args) in [
        (json!(["a"]), json!(null), json!(["a"])),
        (json!(null), json!(["b", "c"]), json!(["b", "c"])),
        (json!(["a"]), json!(["b"]), json!(["a", "b"])),
        (json!([]), json!([]), json!(["sh"])),
    ] {
        let image =
            Image::of(&[Layer::new()]).config(json!({"Entrypoint": entrypoint, "Cmd": cmd}));
        assert_eq!(config_of(&image)["process"]["args"], args);
    }
}

#[test]
fn users() {
    for (user, expected) in [
        ("101", json!({"uid": 101, "gid": 102})),
        ("7:8", json!({"uid": 7, "gid": 8})),
        ("7:adm", json!({"uid": 7, "gid": 4})),
        ("web:adm", json!({"uid": 101, "gid": 4})),
        ("root", json!({"uid": 0, "gid": 0})),
    ] {
        let image = Image::of(&[passwd()]).config(json!({"User": user}));
        assert_eq!(config_of(&image)["process"]["user"], expected, "{user}");
    }
    for (user, why) in [("nobody", "no user \"nobody\""), ("web:staff", "no group \"staff\"")] {
        Place::new().refused(&Image::of(&[passwd()]).config(json!({"User": user}))).says(why);
    }
}

/// Security: a runtime must not obey a label (CVE-2026-53488 of containerd).
#[test]
fn labels_that_a_runtime_may_obey_are_no_annotations() {
    let orders = [
        "bundle",
        "cdi.k8s.io/gpu",
        "com.docker.network.x",
        "dev.gvisor.spec.mount.a.source",
        "io.containers.trace-syscall",
        "io.katacontainers.config.hypervisor.path",
        "io.kubernetes.cri.container-type",
        "krun.cpus",
        "module.wasm.image/variant",
        "org.criu.config",
        "org.systemd.property.TimeoutStopUSec",
        "run.oci.hooks.stdout",
    ];
    let descriptions = ["maintainer", "org.label-schema.name", "org.opencontainers.image.title"];
    let labels: serde_json::Map<String, Value> =
        orders.iter().chain(&descriptions).map(|key| ((*key).to_owned(), json!("x"))).collect();
    let (image, place) =
        (Image::of(&[Layer::new()]).config(json!({ "Labels": labels })), Place::new());
    image.write(&place.path("layout"));
    let output = place.unpack(&["--quiet"]).ok();
    let config: Value =
        serde_json::from_slice(&fs::read(place.path("bundle/config.json")).unwrap()).unwrap();
    let mut found: Vec<&String> = config["annotations"].as_object().unwrap().keys().collect();
    found.retain(|key| labels.contains_key(*key));
    assert_eq!(found, descriptions);
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    for key in &orders[..10] {
        assert!(output.stderr.contains(&format!("\"{key}\"")), "{key}: {output:?}");
    }
    output.says("and 2 more");
    // No message if no label is left out.
    let place = Place::new();
    let image = Image::of(&[Layer::new()]).config(json!({ "Labels": {"maintainer": "us"} }));
    image.write(&place.path("layout"));
    assert_eq!(place.unpack(&["--quiet"]).ok().stderr, "");
}
