//! Adds the present values that the kernel needs together with the changed ones.

use crate::config::Resources;
use crate::plan::resources;

/// On cgroup v2, two limits may share a file, or one may include the other. If only one of such a
/// pair is given, the other keeps its present value.
pub(super) fn complete(wanted: &mut Resources<'_>, now: impl Fn(&str, &str) -> Option<String>) {
    if let Some(cpu) = &mut wanted.cpu
        && cpu.idle == Some(0)
        && cpu.shares.is_none_or(|shares| shares == 0)
        && now("cpu", "cpu.idle").is_some_and(|idle| idle.trim() == "1")
    {
        // The kernel sets this when a cgroup is no longer idle. systemd would keep it idle.
        cpu.shares = Some(1024);
    }
    complete_quota(wanted, &now);
    let given = |value: Option<i64>| value.is_some_and(|value| value != 0);
    if let Some(memory) = &mut wanted.memory
        && given(memory.limit) != given(memory.swap)
    {
        let bytes = |file: &str| now("memory", file)?.trim().parse::<i64>().ok();
        let limit = bytes("memory.max");
        if given(memory.swap) {
            memory.limit = Some(limit.unwrap_or(-1));
        } else if let (Some(limit), Some(swap), Some(1..)) =
            (limit, bytes("memory.swap.max"), memory.limit)
        {
            memory.swap = limit.checked_add(swap);
        }
    }
}

/// Keeps a cgroup idle when it gets a weight: only `cpu.idle` ends that.
pub(super) fn keep_idle(wanted: &mut Resources<'_>, now: impl Fn(&str, &str) -> Option<String>) {
    let unified = |wanted: &dyn Fn(&str) -> bool, of: &Resources<'_>| {
        of.unified.iter().any(|(name, _)| wanted(name))
    };
    let shares = wanted.cpu.as_ref().and_then(|cpu| cpu.shares).is_some_and(|shares| shares != 0);
    let has_weight = shares || unified(&resources::is_cpu_weight, wanted);
    if has_weight
        && wanted.cpu.as_ref().is_none_or(|cpu| cpu.idle.is_none())
        && !unified(&|name| name == "cpu.idle", wanted)
        && now("cpu", "cpu.idle").is_some_and(|idle| idle.trim() == "1")
    {
        wanted.cpu.get_or_insert_default().idle = Some(1);
    }
}

/// Completes the CPU quota and its period, which are one limit for systemd, on cgroup v1 too.
pub(super) fn complete_quota(
    wanted: &mut Resources<'_>,
    now: impl Fn(&str, &str) -> Option<String>,
) {
    let Some(cpu) = &mut wanted.cpu else { return };
    let given = cpu.quota.is_some_and(|quota| quota != 0);
    if given == cpu.period.is_some_and(|period| period != 0) {
        return;
    }
    let of_v1 = || {
        Some(format!(
            "{} {}",
            now("cpu", "cpu.cfs_quota_us")?.trim(),
            now("cpu", "cpu.cfs_period_us")?
        ))
    };
    let found = now("cpu", "cpu.max").or_else(of_v1);
    let Some((quota, period)) = found.as_deref().and_then(quota_and_period) else { return };
    if given {
        cpu.period = Some(period);
    } else {
        cpu.quota = Some(quota);
    }
}

/// Parses `max 100000`. On cgroup v1, -1 means no limit.
fn quota_and_period(text: &str) -> Option<(i64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((if quota == "max" { -1 } else { quota.parse().ok()? }, period.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::{complete, complete_quota, keep_idle, quota_and_period};

    #[test]
    fn a_weight_does_not_end_idleness() {
        for (now, text, idle) in [
            ("1", r#"{"cpu":{"shares":7}}"#, Some(1)),
            ("1", r#"{"unified":{"cpu.weight":"7"}}"#, Some(1)),
            ("1", r#"{"cpu":{"shares":7},"unified":{"cpu.idle":"0"}}"#, None),
            ("1", r#"{"cpu":{"shares":7,"idle":0}}"#, Some(0)),
            ("1", r#"{"cpu":{"shares":0}}"#, None),
            ("1", r#"{"pids":{"limit":7}}"#, None),
            ("0", r#"{"cpu":{"shares":7}}"#, None),
        ] {
            let mut wanted = parse(text.as_bytes()).expect(text);
            keep_idle(&mut wanted, |_, file| (file == "cpu.idle").then(|| format!("{now}\n")));
            assert_eq!(wanted.cpu.and_then(|cpu| cpu.idle), idle, "{text}");
        }
    }

    #[test]
    fn what_shares_a_file_is_completed() {
        let now = |_: &str, file: &str| {
            let content = match file {
                "cpu.max" => "5000 20000\n",
                "memory.max" => "1000\n",
                "memory.swap.max" => "500\n",
                _ => return None,
            };
            Some(content.to_owned())
        };
        for (text, cpu, memory) in [
            (
                r#"{"cpu":{"quota":7000},"memory":{"limit":1200}}"#,
                (Some(7000), Some(20_000)),
                (Some(1200), Some(1500)),
            ),
            (
                r#"{"cpu":{"period":9000},"memory":{"swap":1700}}"#,
                (Some(5000), Some(9000)),
                (Some(1000), Some(1700)),
            ),
            (
                r#"{"cpu":{"quota":1,"period":2},"memory":{"limit":3,"swap":4}}"#,
                (Some(1), Some(2)),
                (Some(3), Some(4)),
            ),
            (r#"{"cpu":{"shares":7},"memory":{"reservation":5}}"#, (None, None), (None, None)),
            (
                r#"{"cpu":{"quota":-1},"memory":{"limit":-1}}"#,
                (Some(-1), Some(20_000)),
                (Some(-1), None),
            ),
        ] {
            let mut wanted = parse(text.as_bytes()).expect(text);
            complete(&mut wanted, now);
            let found = wanted.cpu.map(|cpu| (cpu.quota, cpu.period));
            assert_eq!(found, Some(cpu), "{text}");
            assert_eq!(
                wanted.memory.map(|memory| (memory.limit, memory.swap)),
                Some(memory),
                "{text}"
            );
        }
    }

    #[test]
    fn a_quota_and_its_period_are_completed_on_v1_too() {
        for (held, text, cpu) in [
            ("25000", r#"{"cpu":{"period":100000}}"#, (Some(25_000), Some(100_000))),
            ("25000", r#"{"cpu":{"quota":10000}}"#, (Some(10_000), Some(50_000))),
            ("25000", r#"{"cpu":{"shares":7}}"#, (None, None)),
            ("-1", r#"{"cpu":{"period":100000}}"#, (Some(-1), Some(100_000))),
        ] {
            let now = |_: &str, file: &str| match file {
                "cpu.cfs_quota_us" => Some(format!("{held}\n")),
                "cpu.cfs_period_us" => Some("50000\n".to_owned()),
                _ => None,
            };
            let mut wanted = parse(text.as_bytes()).expect(text);
            complete_quota(&mut wanted, now);
            assert_eq!(wanted.cpu.map(|cpu| (cpu.quota, cpu.period)), Some(cpu), "{text}");
        }
    }

    #[test]
    fn cpu_max_is_two_numbers() {
        assert_eq!(quota_and_period("max 100000\n"), Some((-1, 100_000)));
        assert_eq!(quota_and_period("5000 20000\n"), Some((5000, 20_000)));
        assert_eq!(quota_and_period("5000"), None);
    }
}
