//! `oci-spec` as the judge of our model of config.json: what it accepts we accept, and it means the
//! same to both.

use std::fs;
use std::path::Path;

use oci_spec::runtime::Spec;
use orlop::config::{self as model, Config, IdMapping, Map, Text};

use crate::field_map;
use crate::support::{Value, config, json};

/// The configs to be judged: files, and the one that all other tests start from.
fn configs() -> Vec<(String, String)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![("default of the tests".to_owned(), config::default().to_string())];
    for name in [
        "integration/demo/config.json",
        "tests/data/maximal.json",
        "tests/data/runtime-spec-1.3/linux-netdevice.json",
        "tests/data/runtime-spec-1.3/linux-rdma.json",
        "tests/data/runtime-spec-1.3/minimal-for-start.json",
        "tests/data/runtime-spec-1.3/minimal.json",
        "tests/data/runtime-spec-1.3/spec-example.json",
    ] {
        found.push((name.to_owned(), fs::read_to_string(package.join(name)).unwrap()));
    }
    found
}

/// Windows's, which we do not read.
const UNREAD: &str = "/process/commandLine";

#[test]
fn what_oci_spec_accepts_means_the_same_to_us() {
    for (name, text) in configs() {
        let theirs: Spec = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("oci-spec on {name}: {error}"));
        let ours =
            orlop::plan::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let mut theirs = flat(&tidy(serde_json::to_value(&theirs).unwrap()));
        theirs.retain(|(key, _)| key != UNREAD);
        let ours = tidy(written(&ours));
        for (key, value) in &theirs {
            assert_eq!(
                ours.pointer(key),
                Some(value),
                "{name}: {key}, as oci-spec has it on the right"
            );
        }
        for (key, value) in flat(&ours) {
            assert!(
                theirs.iter().any(|(other, _)| *other == key),
                "{name}: {key}: {value} is not in oci-spec's reading"
            );
        }
    }
}

/// So that the judgement is of every property.
#[test]
fn the_maximal_config_has_every_key() {
    let (_, text) = configs().into_iter().find(|(name, _)| name.ends_with("maximal.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    for key in field_map::schema_keys() {
        let steps: Vec<&str> = key.split('.').collect();
        assert!(has(&config, &steps), "tests/data/maximal.json lacks {key}");
    }
}

/// Whether there is a value at the end of `mounts[]`, `options`; `*` is any name.
fn has(value: &Value, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    if *step == "*" {
        return value
            .as_object()
            .is_some_and(|object| object.values().any(|value| has(value, rest)));
    }
    match step.strip_suffix("[]") {
        Some(name) => {
            value[name].as_array().is_some_and(|array| array.iter().any(|value| has(value, rest)))
        }
        None => value.get(step).is_some_and(|value| has(value, rest)),
    }
}

/// Without what says nothing: null, false, empty; the sets of capabilities sorted.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let pairs = object.into_iter().map(|(name, value)| (name, tidy(value)));
            Value::Object(pairs.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(array) => {
            let mut array: Vec<Value> = array.into_iter().map(tidy).collect();
            if array.iter().all(|value| value.as_str().is_some_and(|text| text.starts_with("CAP_")))
            {
                array.sort_by_key(ToString::to_string);
            }
            Value::Array(array)
        }
        other => other,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(array) => array.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Every plain value with its JSON pointer.
fn flat(value: &Value) -> Vec<(String, Value)> {
    let below = |name: &str, value: &Value| -> Vec<(String, Value)> {
        let name = name.replace('~', "~0").replace('/', "~1");
        flat(value).into_iter().map(|(key, value)| (format!("/{name}{key}"), value)).collect()
    };
    match value {
        Value::Object(object) => {
            object.iter().flat_map(|(name, value)| below(name, value)).collect()
        }
        Value::Array(array) => {
            array.iter().enumerate().flat_map(|(n, value)| below(&n.to_string(), value)).collect()
        }
        plain => vec![(String::new(), plain.clone())],
    }
}

/// Our model, written down again.
fn written(config: &Config<'_>) -> Value {
    json!({
        "ociVersion": &*config.oci_version,
        "process": config.process.as_ref().map(process),
        "root": config.root.as_ref().map(|root| json!({ "path": &*root.path, "readonly": root.readonly })),
        "hostname": &*config.hostname,
        "domainname": &*config.domainname,
        "mounts": list(&config.mounts, |mount| json!({
            "destination": &*mount.destination,
            "type": &*mount.kind,
            "source": &*mount.source,
            "options": texts(&mount.options),
            "uidMappings": ids(&mount.uid_mappings),
            "gidMappings": ids(&mount.gid_mappings),
        })),
        "hooks": serde_json::to_value(&config.hooks).unwrap(),
        "annotations": map(&config.annotations, |text| json!(&**text)),
        "linux": linux(&config.linux),
    })
}

fn process(process: &model::Process<'_>) -> Value {
    json!({
        "terminal": process.terminal,
        "consoleSize": process.console_size.map(|size| json!({ "height": size.height, "width": size.width })),
        "user": {
            "uid": process.user.uid,
            "gid": process.user.gid,
            "umask": process.user.umask,
            "additionalGids": process.user.additional_gids,
            "username": &*process.user.username,
        },
        "args": texts(&process.args),
        "env": texts(&process.env),
        "cwd": &*process.cwd,
        "capabilities": process.capabilities.as_ref().map(|sets| json!({
            "bounding": texts(&sets.bounding),
            "effective": texts(&sets.effective),
            "inheritable": texts(&sets.inheritable),
            "permitted": texts(&sets.permitted),
            "ambient": texts(&sets.ambient),
        })),
        "rlimits": list(&process.rlimits, |limit| {
            json!({ "type": &*limit.kind, "hard": limit.hard, "soft": limit.soft })
        }),
        "noNewPrivileges": process.no_new_privileges,
        "apparmorProfile": &*process.apparmor_profile,
        "oomScoreAdj": process.oom_score_adj,
        "scheduler": process.scheduler.as_ref().map(|scheduler| json!({
            "policy": &*scheduler.policy,
            "nice": scheduler.nice,
            "priority": scheduler.priority,
            "flags": texts(&scheduler.flags),
            "runtime": scheduler.runtime,
            "deadline": scheduler.deadline,
            "period": scheduler.period,
        })),
        "selinuxLabel": &*process.selinux_label,
        "ioPriority": process.io_priority.as_ref().map(|io| json!({ "class": &*io.class, "priority": io.priority })),
        "execCPUAffinity": process.exec_cpu_affinity.as_ref().map(|affinity| {
            json!({ "initial": &*affinity.initial, "final": &*affinity.last })
        }),
    })
}

fn linux(linux: &model::Linux<'_>) -> Value {
    json!({
        "uidMappings": ids(&linux.uid_mappings),
        "gidMappings": ids(&linux.gid_mappings),
        "sysctl": map(&linux.sysctl, |text| json!(&**text)),
        "resources": resources(&linux.resources),
        "cgroupsPath": &*linux.cgroups_path,
        "namespaces": list(&linux.namespaces, |one| json!({ "type": &*one.kind, "path": &*one.path })),
        "devices": list(&linux.devices, |device| json!({
            "path": &*device.path,
            "type": &*device.kind,
            "major": device.major,
            "minor": device.minor,
            "fileMode": device.file_mode,
            "uid": device.uid,
            "gid": device.gid,
        })),
        "netDevices": map(&linux.net_devices, |device| json!({ "name": &*device.name })),
        "seccomp": linux.seccomp.as_ref().map(seccomp),
        "rootfsPropagation": &*linux.rootfs_propagation,
        "maskedPaths": texts(&linux.masked_paths),
        "readonlyPaths": texts(&linux.readonly_paths),
        "mountLabel": &*linux.mount_label,
        "intelRdt": linux.intel_rdt.as_ref().map(|rdt| json!({
            "closID": &*rdt.clos_id,
            "schemata": texts(&rdt.schemata),
            "l3CacheSchema": &*rdt.l3_cache_schema,
            "memBwSchema": &*rdt.mem_bw_schema,
            "enableMonitoring": rdt.enable_monitoring,
        })),
        "memoryPolicy": linux.memory_policy.as_ref().map(|policy| {
            json!({ "mode": &*policy.mode, "nodes": &*policy.nodes, "flags": texts(&policy.flags) })
        }),
        "personality": linux.personality.as_ref().map(|personality| {
            json!({ "domain": &*personality.domain, "flags": texts(&personality.flags) })
        }),
        "timeOffsets": map(&linux.time_offsets, |time| json!({ "secs": time.secs, "nanosecs": time.nanosecs })),
    })
}

fn resources(resources: &model::Resources<'_>) -> Value {
    json!({
        "unified": map(&resources.unified, |text| json!(&**text)),
        "devices": list(&resources.devices, |rule| json!({
            "allow": rule.allow,
            "type": &*rule.kind,
            "major": rule.major,
            "minor": rule.minor,
            "access": &*rule.access,
        })),
        "memory": resources.memory.map(|memory| json!({
            "limit": memory.limit,
            "reservation": memory.reservation,
            "swap": memory.swap,
            "kernel": memory.kernel,
            "kernelTCP": memory.kernel_tcp,
            "swappiness": memory.swappiness,
            "disableOOMKiller": memory.disable_oom_killer,
            "useHierarchy": memory.use_hierarchy,
            "checkBeforeUpdate": memory.check_before_update,
        })),
        "cpu": resources.cpu.as_ref().map(|cpu| json!({
            "shares": cpu.shares,
            "quota": cpu.quota,
            "burst": cpu.burst,
            "period": cpu.period,
            "realtimeRuntime": cpu.realtime_runtime,
            "realtimePeriod": cpu.realtime_period,
            "cpus": &*cpu.cpus,
            "mems": &*cpu.mems,
            "idle": cpu.idle,
        })),
        "pids": resources.pids.map(|pids| json!({ "limit": pids.limit })),
        "blockIO": resources.block_io.as_ref().map(block_io),
        "hugepageLimits": list(&resources.hugepage_limits, |limit| {
            json!({ "pageSize": &*limit.page_size, "limit": limit.limit })
        }),
        "network": resources.network.as_ref().map(|network| json!({
            "classID": network.class_id,
            "priorities": list(&network.priorities, |one| json!({ "name": &*one.name, "priority": one.priority })),
        })),
        "rdma": map(&resources.rdma, |rdma| json!({ "hcaHandles": rdma.hca_handles, "hcaObjects": rdma.hca_objects })),
    })
}

fn block_io(io: &model::BlockIo) -> Value {
    let throttle = |devices: &[model::ThrottleDevice]| {
        list(
            devices,
            |device| json!({ "major": device.major, "minor": device.minor, "rate": device.rate }),
        )
    };
    json!({
        "weight": io.weight,
        "leafWeight": io.leaf_weight,
        "weightDevice": list(&io.weight_device, |device| json!({
            "major": device.major,
            "minor": device.minor,
            "weight": device.weight,
            "leafWeight": device.leaf_weight,
        })),
        "throttleReadBpsDevice": throttle(&io.throttle_read_bps_device),
        "throttleWriteBpsDevice": throttle(&io.throttle_write_bps_device),
        "throttleReadIOPSDevice": throttle(&io.throttle_read_iops_device),
        "throttleWriteIOPSDevice": throttle(&io.throttle_write_iops_device),
    })
}

fn seccomp(seccomp: &model::Seccomp<'_>) -> Value {
    json!({
        "defaultAction": &*seccomp.default_action,
        "defaultErrnoRet": seccomp.default_errno_ret,
        "architectures": texts(&seccomp.architectures),
        "flags": seccomp.flags.as_deref().map(texts),
        "listenerPath": &*seccomp.listener_path,
        "listenerMetadata": &*seccomp.listener_metadata,
        "syscalls": list(&seccomp.syscalls, |entry| json!({
            "names": texts(&entry.names),
            "action": &*entry.action,
            "errnoRet": entry.errno_ret,
            "args": list(&entry.args, |arg| json!({
                "index": arg.index,
                "value": arg.value,
                "valueTwo": arg.value_two,
                "op": &*arg.op,
            })),
        })),
    })
}

fn texts(list: &[Text<'_>]) -> Value {
    list.iter().map(|text| json!(&**text)).collect()
}

fn ids(list: &[IdMapping]) -> Value {
    let line = |id: &IdMapping| json!({ "containerID": id.container_id, "hostID": id.host_id, "size": id.size });
    list.iter().map(line).collect()
}

fn list<T>(list: &[T], one: impl Fn(&T) -> Value) -> Value {
    list.iter().map(one).collect()
}

fn map<T>(map: &Map<'_, T>, one: impl Fn(&T) -> Value) -> Value {
    Value::Object(map.iter().map(|(name, value)| (name.to_string(), one(value))).collect())
}
