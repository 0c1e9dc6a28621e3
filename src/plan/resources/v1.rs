//! `linux.resources` as files of cgroup v1.
//! config.json: linux.resources

use crate::config;

use super::{
    BURST, DISABLE_OOM_KILLER, IDLE, LIMIT, PERIOD, QUOTA, RESERVATION, RT_PERIOD, RT_RUNTIME,
    ResourcesDraft, SHARES, SWAP, SWAPPINESS, Write, check_cpu, cpuset, device_number, hugepages,
    io_weight, memory_limits, no_leaf_weight, pids, rdma, throttles,
};

/// The files of the throttles, in the order of [`throttles`].
const THROTTLE_FILES: [&str; 4] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
];

pub(super) fn decide(resources: &config::Resources<'_>, draft: &mut ResourcesDraft<'_>) {
    if let Some(cpu) = &resources.cpu {
        cpuset(cpu, draft);
    }
    if let Some(memory) = &resources.memory {
        self::memory(memory, draft);
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, draft);
    }
    if let Some(limit) = &resources.pids {
        pids(limit, draft);
    }
    if let Some(block_io) = &resources.block_io {
        self::block_io(block_io, draft);
    }
    hugepages(&resources.hugepage_limits, "limit_in_bytes", draft);
    if let Some(network) = &resources.network {
        self::network(network, draft);
    }
    rdma(&resources.rdma, draft);
    if !resources.unified.is_empty() {
        draft.problem(
            "/linux/resources/unified",
            "these are settings of cgroup v2, and this machine has cgroup v1",
        );
    }
}

fn memory(memory: &config::Memory, draft: &mut ResourcesDraft<'_>) {
    let limits = memory_limits(memory, draft.problems);
    // The kernel keeps limit <= memory+swap at every moment. So the order of the two depends on the
    // present values. These are not read: the limit is written first, and if that fails again after
    // the other.
    if let Some(limit) = limits.limit {
        draft.push(
            Write::new("memory", "memory.limit_in_bytes", limit, LIMIT)
                .optional(limit < 0)
                .retried()
                .early(),
        );
    }
    match (limits.swap, limits.limit) {
        (Some(swap), _) => {
            draft.push(
                Write::new("memory", "memory.memsw.limit_in_bytes", swap, SWAP)
                    .optional(swap < 0)
                    .early(),
            );
        }
        // No limit on memory also means none on swap, unless the config has one.
        (None, Some(-1)) => draft.push(
            Write::new("memory", "memory.memsw.limit_in_bytes", -1, LIMIT).optional(true).early(),
        ),
        (None, _) => {}
    }
    if let Some(reservation) = limits.reservation {
        let write = Write::new("memory", "memory.soft_limit_in_bytes", reservation, RESERVATION);
        draft.push(write.optional(reservation < 0));
    }
    if memory.disable_oom_killer == Some(true) {
        draft.push(Write::new("memory", "memory.oom_control", 1, DISABLE_OOM_KILLER));
    }
    if let Some(swappiness) = limits.swappiness {
        draft.push(Write::new("memory", "memory.swappiness", swappiness, SWAPPINESS));
    }
}

fn cpu(cpu: &config::Cpu<'_>, draft: &mut ResourcesDraft<'_>) {
    check_cpu(cpu, draft.problems);
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        // The kernel would use the nearest valid value silently.
        match shares {
            1 => draft.problem(SHARES, "the minimum allowed cpu-shares is 2"),
            262_145.. => draft.problem(SHARES, "the maximum allowed cpu-shares is 262144"),
            // The cgroup may be idle until `cpu.idle` is written.
            _ => draft.push(Write::new("cpu", "cpu.shares", shares, SHARES).retried()),
        }
    }
    // Period and burst may be too large for the present quota.
    if let Some(period) = cpu.period.filter(|&period| period != 0) {
        draft.push(Write::new("cpu", "cpu.cfs_period_us", period, PERIOD).retried());
    }
    if let Some(burst) = cpu.burst {
        draft.push(
            Write::new("cpu", "cpu.cfs_burst_us", burst, BURST).optional(burst == 0).retried(),
        );
    }
    if let Some(quota) = cpu.quota.filter(|&quota| quota != 0) {
        draft.push(Write::new("cpu", "cpu.cfs_quota_us", quota.max(-1), QUOTA).optional(quota < 0));
    }
    if let Some(idle) = cpu.idle {
        draft.push(Write::new("cpu", "cpu.idle", idle, IDLE).optional(idle == 0));
    }
    if let Some(period) = cpu.realtime_period.filter(|&period| period != 0) {
        draft.push(Write::new("cpu", "cpu.rt_period_us", period, RT_PERIOD).retried());
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|&runtime| runtime != 0) {
        draft.push(Write::new("cpu", "cpu.rt_runtime_us", runtime, RT_RUNTIME));
    }
}

fn block_io(block_io: &config::BlockIo, draft: &mut ResourcesDraft<'_>) {
    no_leaf_weight(block_io, draft);
    let key = "/linux/resources/blockIO/weight";
    if let Some(weight) = io_weight(block_io.weight, key, draft) {
        draft.push(Write::new("blkio", "blkio.weight", weight, key).or("blkio.bfq.weight", weight));
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let key = format!("/linux/resources/blockIO/weightDevice/{index}");
        if let Some(weight) = io_weight(device.weight, &format!("{key}/weight"), draft)
            && let Some(number) = device_number(device.major, device.minor, &key, draft)
        {
            let value = format!("{number} {weight}");
            let write = Write::new("blkio", "blkio.weight_device", &value, key);
            draft.push(write.or("blkio.bfq.weight_device", value));
        }
    }
    for ((name, devices), file) in throttles(block_io).into_iter().zip(THROTTLE_FILES) {
        for (index, device) in devices.iter().enumerate() {
            let key = format!("/linux/resources/blockIO/{name}/{index}");
            if let Some(number) = device_number(device.major, device.minor, &key, draft) {
                draft.push(Write::new("blkio", file, format!("{number} {}", device.rate), key));
            }
        }
    }
}

fn network(network: &config::Network<'_>, draft: &mut ResourcesDraft<'_>) {
    if let Some(class) = network.class_id.filter(|&class| class != 0) {
        draft.push(Write::new(
            "net_cls",
            "net_cls.classid",
            class,
            "/linux/resources/network/classID",
        ));
    }
    for (index, interface) in network.priorities.iter().enumerate() {
        let key = format!("/linux/resources/network/priorities/{index}");
        let name = &*interface.name;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
            draft.problem(&key, format_args!("{name:?} is not the name of an interface"));
            continue;
        }
        draft.push(Write::new(
            "net_prio",
            "net_prio.ifpriomap",
            format!("{name} {}", interface.priority),
            key,
        ));
    }
}
