//! `linux.resources` as files of cgroup v2. The values of the specification are those of cgroup v1,
//! and are converted.
//! config.json: linux.resources

use crate::config;
use crate::error::Cause;

use super::{
    BURST, DISABLE_OOM_KILLER, IDLE, LIMIT, PERIOD, QUOTA, RESERVATION, RT_PERIOD, RT_RUNTIME,
    ResourcesDraft, SHARES, SWAP, SWAPPINESS, Write, check_cpu, cpuset, device_number, escape,
    hugepages, io_weight, is_cpu_weight, memory_limits, no_leaf_weight, or_max, pids, rdma,
    throttles,
};

/// The keys of the throttles in `io.max`, in the order of [`throttles`].
const THROTTLE_WORDS: [&str; 4] = ["rbps", "wbps", "riops", "wiops"];

/// The period of `cpu.max` if none is given: the kernel's default, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn decide(resources: &config::Resources<'_>, draft: &mut ResourcesDraft<'_>) {
    if let Some(limit) = &resources.pids {
        pids(limit, draft);
    }
    if let Some(memory) = &resources.memory {
        self::memory(memory, draft);
    }
    if let Some(block_io) = &resources.block_io {
        self::block_io(block_io, draft);
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, draft);
        cpuset(cpu, draft);
    }
    hugepages(&resources.hugepage_limits, "max", draft);
    rdma(&resources.rdma, draft);
    if let Some(network) = &resources.network {
        self::network(network, draft);
    }
    unified(&resources.unified, draft);
}

fn memory(memory: &config::Memory, draft: &mut ResourcesDraft<'_>) {
    let limits = memory_limits(memory, draft.problems);
    // Without swap accounting the kernel has no such file. The values `max` and `0` apply then
    // anyway.
    if let Some(swap) = swap(limits.swap, limits.limit, draft) {
        let value = or_max(swap);
        let key = if limits.swap.is_some() { SWAP } else { LIMIT };
        let optional = matches!(&*value, "max" | "0");
        draft.push(Write::new("memory", "memory.swap.max", value, key).optional(optional).early());
    }
    if let Some(limit) = limits.limit {
        draft.push(
            Write::new("memory", "memory.max", or_max(limit), LIMIT).optional(limit < 0).early(),
        );
    }
    if let Some(reservation) = limits.reservation {
        let write = Write::new("memory", "memory.low", or_max(reservation), RESERVATION);
        draft.push(write.optional(reservation < 0));
    }
    if limits.swappiness.is_some() {
        draft.problems.warn(SWAPPINESS, "cgroup v2 has no swappiness; the value is ignored");
    }
    if memory.disable_oom_killer == Some(true) {
        draft.problems.warn(
            DISABLE_OOM_KILLER,
            "cgroup v2 cannot keep the OOM killer away; the value is ignored",
        );
    }
}

/// `memory.swap.max` from the limit on memory and swap together; -1 is no limit.
fn swap(swap: Option<i64>, limit: Option<i64>, draft: &mut ResourcesDraft<'_>) -> Option<i64> {
    match (swap, limit) {
        // As on v1: no limit on memory also means none on swap, unless the config has one.
        (None, Some(-1)) => Some(-1),
        (None, _) => None,
        (Some(-1), _) => Some(-1),
        (Some(swap), Some(-1)) => Some(swap),
        (Some(_), None) => {
            draft.problem(SWAP, "unable to set swap limit without memory limit");
            None
        }
        // A swap limit below the memory limit has been reported as a problem before.
        (Some(swap), Some(limit)) => Some((swap - limit).max(0)),
    }
}

fn cpu(cpu: &config::Cpu<'_>, draft: &mut ResourcesDraft<'_>) {
    check_cpu(cpu, draft.problems);
    if let Some(idle) = cpu.idle {
        draft.push(Write::new("cpu", "cpu.idle", idle, IDLE).optional(idle == 0));
    }
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        // The cgroup may be idle until `unified` changes that.
        draft.push(Write::new("cpu", "cpu.weight", weight(shares), SHARES).retried());
    }
    if let Some(burst) = cpu.burst {
        // The burst may be too large for the present quota.
        draft.push(Write::new("cpu", "cpu.max.burst", burst, BURST).optional(burst == 0).retried());
    }
    let quota = cpu.quota.filter(|&quota| quota != 0);
    let period = cpu.period.filter(|&period| period != 0);
    if quota.is_some() || period.is_some() {
        let value = format!("{} {}", or_max(quota.unwrap_or(-1)), period.unwrap_or(DEFAULT_PERIOD));
        let key = if quota.is_some() { QUOTA } else { PERIOD };
        // Without the controller there is no quota. A period would be lost.
        draft.push(
            Write::new("cpu", "cpu.max", value, key)
                .optional(quota.unwrap_or(-1) < 0 && period.is_none()),
        );
    }
    let runtime = cpu.realtime_runtime.is_some_and(|runtime| runtime != 0);
    let period = cpu.realtime_period.is_some_and(|period| period != 0);
    for (given, key) in [(runtime, RT_RUNTIME), (period, RT_PERIOD)] {
        if given {
            draft.problem(key, "cgroup v2 has no limits on realtime scheduling");
        }
    }
}

/// `cpu.weight` (1 to 10000, default 100) for `cpu.shares` (2 to 262144, default 1024). It is the
/// quadratic function of the logarithms through these three points, as in runc, crun and systemd.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "1 to 10000"
)]
fn weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// `io.weight` (1 to 10000) for a weight from 10 to 1000.
fn converted(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

fn block_io(block_io: &config::BlockIo, draft: &mut ResourcesDraft<'_>) {
    no_leaf_weight(block_io, draft);
    let key = "/linux/resources/blockIO/weight";
    if let Some(weight) = io_weight(block_io.weight, key, draft) {
        draft.push(
            Write::new("io", "io.bfq.weight", weight, key).or("io.weight", converted(weight)),
        );
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let key = format!("/linux/resources/blockIO/weightDevice/{index}");
        if let Some(weight) = io_weight(device.weight, &format!("{key}/weight"), draft)
            && let Some(number) = device_number(device.major, device.minor, &key, draft)
        {
            let write = Write::new("io", "io.bfq.weight", format!("{number} {weight}"), key);
            draft.push(write.or("io.weight", format!("{number} {}", converted(weight))));
        }
    }
    for ((name, devices), word) in throttles(block_io).into_iter().zip(THROTTLE_WORDS) {
        for (index, device) in devices.iter().enumerate() {
            let key = format!("/linux/resources/blockIO/{name}/{index}");
            if let Some(number) = device_number(device.major, device.minor, &key, draft) {
                // A rate of 0 removes the limit on v1. On v2 `max` does this.
                let rate =
                    if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
                draft.push(Write::new("io", "io.max", format!("{number} {word}={rate}"), key));
            }
        }
    }
}

fn network(network: &config::Network<'_>, draft: &mut ResourcesDraft<'_>) {
    if network.class_id.is_some_and(|class| class != 0) {
        draft.problem("/linux/resources/network/classID", "cgroup v2 has no network classes");
    }
    if !network.priorities.is_empty() {
        draft.problem("/linux/resources/network/priorities", "cgroup v2 has no network priorities");
    }
}

/// Files by their names. They are written last, so that they override other keys. Each line of a
/// value is written separately.
fn unified(files: &config::Map<'_, config::Text<'_>>, draft: &mut ResourcesDraft<'_>) {
    for (name, value) in files.iter() {
        let key = format!("/linux/resources/unified/{}", escape(name));
        let Some((controller, parameter)) = name.split_once('.').filter(|_| is_file_name(name))
        else {
            let text = format_args!(
                "unified resource {:?} must be a file name of the form CONTROLLER.PARAMETER",
                &**name
            );
            draft.problem(&key, text);
            continue;
        };
        // The files of `cgroup.` and the pressure files exist without a controller.
        if controller != "cgroup"
            && !parameter.ends_with("pressure")
            && !draft.layout.has(controller)
        {
            let text = format_args!(
                "unified resource {:?} can't be set: controller {controller:?} not available",
                &**name
            );
            draft.problems.add_for(Cause::NoController, &key, text);
            continue;
        }
        // A newline alone empties a list. An empty write has no effect.
        let lines = if value.is_empty() { vec!["\n"] } else { value.lines().collect() };
        for line in lines {
            let write = Write::new(controller.to_owned(), name.to_string(), line, key.clone());
            // The kernel accepts a weight only if the cgroup is not idle. Another file of `unified`
            // may change that.
            draft.writes.push(if is_cpu_weight(name) { write.retried() } else { write });
        }
    }
}

/// Whether `name` stays in the directory.
fn is_file_name(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_become_weights_as_in_runc() {
        for (shares, weight) in [
            (1, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (100, 17),
            (500, 58),
            (1000, 99),
            (1024, 100),
            (2048, 174),
            (3500, 267),
        ] {
            assert_eq!(super::weight(shares), weight, "{shares}");
        }
        for (shares, weight) in
            [(10_000, 627), (100_000, 4340), (200_000, 7899), (262_143, 10_000), (262_144, 10_000)]
        {
            assert_eq!(super::weight(shares), weight, "{shares}");
        }
        assert_eq!(super::weight(u64::MAX), 10_000);
    }

    #[test]
    fn block_weights_are_stretched() {
        for (weight, converted) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(super::converted(weight), converted);
        }
    }
}
