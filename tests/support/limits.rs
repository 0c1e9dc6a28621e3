//! Every property of `linux.resources`, with a value and the files of the kernel that then have it.

use std::path::PathBuf;

use super::{Value, json};

/// The place where a value is read: a file of a controller, and its content or one line of it. If
/// there are alternatives, the first one that exists is used.
#[derive(Debug, Clone)]
pub struct Place(pub Vec<(&'static str, String)>);

/// A setting.
#[derive(Debug)]
pub struct Limit {
    /// The properties of the schema that it tests.
    pub keys: Vec<String>,
    /// `linux.resources` with this setting.
    pub resources: Value,
    /// The places on cgroup v1; empty if v1 does not have the setting.
    pub v1: Vec<Place>,
    /// The places on cgroup v2.
    pub v2: Vec<Place>,
    /// Whether runc 1.1 does the same.
    pub runc: bool,
    /// Whether systemd does not change it when it is reloaded.
    pub lasts: bool,
}

fn limit(keys: &str, resources: Value) -> Limit {
    let keys = keys.split(' ').map(|key| format!("linux.resources.{key}")).collect();
    Limit { keys, resources, v1: Vec::new(), v2: Vec::new(), runc: true, lasts: true }
}

impl Limit {
    fn v1(mut self, file: &'static str, value: impl ToString) -> Self {
        self.v1.push(Place(vec![(file, value.to_string())]));
        self
    }

    fn v2(mut self, file: &'static str, value: impl ToString) -> Self {
        self.v2.push(Place(vec![(file, value.to_string())]));
        self
    }

    /// Adds an alternative to the last file, for kernels without that file.
    fn or(mut self, file: &'static str, value: impl ToString) -> Self {
        let list = if self.v2.is_empty() { &mut self.v1 } else { &mut self.v2 };
        list.last_mut().unwrap().0.push((file, value.to_string()));
        self
    }

    /// When systemd is reloaded, it writes a weight with another scale for all devices to the files
    /// of BFQ. It supports no other weight there.
    fn of_bfq(mut self) -> Self {
        self.lasts = false;
        self.not_in_runc()
    }

    fn not_in_runc(mut self) -> Self {
        self.runc = false;
        self
    }
}

/// The settings. Those for devices are for devices of this machine.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn table() -> Vec<Limit> {
    let mut table = vec![
        limit("memory.limit", json!({"memory":{"limit":67_108_864}}))
            .v1("memory.limit_in_bytes", 67_108_864)
            .v2("memory.max", 67_108_864),
        limit("memory.swap", json!({"memory":{"limit":67_108_864,"swap":100_663_296}}))
            .v1("memory.memsw.limit_in_bytes", 100_663_296)
            .v2("memory.swap.max", 33_554_432),
        limit("memory.reservation", json!({"memory":{"reservation":33_554_432}}))
            .v1("memory.soft_limit_in_bytes", 33_554_432)
            .v2("memory.low", 33_554_432),
        limit("memory.swappiness", json!({"memory":{"swappiness":42}})).v1("memory.swappiness", 42),
        limit("memory.disableOOMKiller", json!({"memory":{"disableOOMKiller":true}}))
            .v1("memory.oom_control", "oom_kill_disable 1"),
        // There are two formulas for v2 in use. Ours is the one of runc since 1.4.
        limit("cpu.shares", json!({"cpu":{"shares":2048}}))
            .v1("cpu.shares", 2048)
            .v2("cpu.weight", 174)
            .not_in_runc(),
        limit("cpu.quota cpu.period", json!({"cpu":{"quota":25_000,"period":50_000}}))
            .v1("cpu.cfs_quota_us", 25_000)
            .v1("cpu.cfs_period_us", 50_000)
            .v2("cpu.max", "25000 50000"),
        limit("cpu.burst", json!({"cpu":{"quota":50_000,"burst":1000}}))
            .v1("cpu.cfs_burst_us", 1000)
            .v2("cpu.max.burst", 1000)
            .not_in_runc(),
        limit("cpu.idle", json!({"cpu":{"idle":1}}))
            .v1("cpu.idle", 1)
            .v2("cpu.idle", 1)
            .not_in_runc(),
        limit("cpu.cpus", json!({"cpu":{"cpus":"0"}})).v1("cpuset.cpus", 0).v2("cpuset.cpus", 0),
        limit("cpu.mems", json!({"cpu":{"mems":"0"}})).v1("cpuset.mems", 0).v2("cpuset.mems", 0),
        limit("cpu.realtimePeriod", json!({"cpu":{"realtimePeriod":900_000}}))
            .v1("cpu.rt_period_us", 900_000),
        limit(
            "cpu.realtimeRuntime",
            json!({"cpu":{"realtimeRuntime":1000,"realtimePeriod":1_000_000}}),
        )
        .v1("cpu.rt_runtime_us", 1000),
        limit("pids.limit", json!({"pids":{"limit":77}})).v1("pids.max", 77).v2("pids.max", 77),
        limit(
            "hugepageLimits[].pageSize hugepageLimits[].limit",
            json!({"hugepageLimits":[{"pageSize":"2MB","limit":4_194_304}]}),
        )
        .v1("hugetlb.2MB.limit_in_bytes", 4_194_304)
        .v2("hugetlb.2MB.max", 4_194_304),
        limit(
            "hugepageLimits[].limit",
            json!({"hugepageLimits":[{"pageSize":"2MB","limit":4_194_304}]}),
        )
        .v1("hugetlb.2MB.rsvd.limit_in_bytes", 4_194_304)
        .v2("hugetlb.2MB.rsvd.max", 4_194_304)
        .not_in_runc(),
        limit("blockIO.weight", json!({"blockIO":{"weight":300}}))
            .v1("blkio.weight", 300)
            .or("blkio.bfq.weight", 300)
            .of_bfq(),
        limit("blockIO.weight", json!({"blockIO":{"weight":300}}))
            .v2("io.bfq.weight", 300)
            .or("io.bfq.weight", "default 300")
            .or("io.weight", "default 2930")
            .of_bfq(),
        limit("unified", json!({"unified":{"memory.high":"50331648","pids.max":"78"}}))
            .v2("memory.high", 50_331_648)
            .v2("pids.max", 78),
        limit("unified", json!({"unified":{"hugetlb.1GB.max":"1073741824"}}))
            .v2("hugetlb.1GB.max", 1_073_741_824),
        limit("unified", json!({"unified":{"cgroup.max.descendants":"7"}}))
            .v2("cgroup.max.descendants", 7),
    ];
    table.extend(block_devices());
    table.extend(rdma());
    table
}

fn block_devices() -> Vec<Limit> {
    let mut limits = Vec::new();
    if let Some((major, minor)) = a_disk(|_| true) {
        for (key, v1, word) in [
            ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
            ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
            ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
            ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
        ] {
            let fields = ["major", "minor", "rate"]
                .map(|field| format!("blockIO.{key}[].{field}"))
                .join(" ");
            let rule = json!([{ "major": major, "minor": minor, "rate": 1_048_576 }]);
            let words = ["rbps", "wbps", "riops", "wiops"].map(|each| match each == word {
                true => format!("{each}=1048576"),
                false => format!("{each}=max"),
            });
            limits.push(
                limit(&fields, json!({ "blockIO": { key: rule } }))
                    .v1(v1, format!("{major}:{minor} 1048576"))
                    .v2("io.max", format!("{major}:{minor} {}", words.join(" "))),
            );
        }
    }
    // A device can have a weight if its scheduler supports weights.
    if let Some((major, minor)) = a_disk(|schedulers| schedulers.contains("[bfq]")) {
        let fields = ["major", "minor", "weight"]
            .map(|field| format!("blockIO.weightDevice[].{field}"))
            .join(" ");
        let rule = json!({ "blockIO": { "weightDevice": [{ "major": major, "minor": minor, "weight": 200 }] } });
        let line = format!("{major}:{minor} 200");
        limits.push(limit(&fields, rule.clone()).v1("blkio.bfq.weight_device", &line).of_bfq());
        limits.push(limit(&fields, rule).v2("io.bfq.weight", line).of_bfq());
    }
    limits
}

/// The numbers of a whole disk whose list of schedulers `pleases` accepts.
fn a_disk(pleases: impl Fn(&str) -> bool) -> Option<(u32, u32)> {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let mut disks: Vec<PathBuf> =
        std::fs::read_dir("/sys/block").ok()?.map(|disk| disk.unwrap().path()).collect();
    disks.sort();
    let good = |disk: &PathBuf| pleases(&read(disk.join("queue/scheduler")).unwrap_or_default());
    let number = read(disks.into_iter().rfind(good)?.join("dev"))?;
    let (major, minor) = number.trim_end().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn rdma() -> Option<Limit> {
    let device = std::fs::read_dir("/sys/class/infiniband").ok()?.flatten().next()?;
    let device = device.file_name().into_string().unwrap();
    let limits = json!({ "rdma": { device.as_str(): { "hcaHandles": 3, "hcaObjects": 1000 } } });
    let line = format!("{device} hca_handle=3 hca_object=1000");
    let limit = limit("rdma.*.hcaHandles rdma.*.hcaObjects", limits);
    Some(limit.v1("rdma.max", &line).v2("rdma.max", line))
}
