//! CPU and block I/O scheduling of the program.
//! config.json: process.scheduler.{policy, nice, priority, flags, runtime, deadline, period}
//! config.json: process.ioPriority.{class, priority}

use super::Problems;
use crate::config;
use crate::kernel::SchedAttr;

/// The policies of sched_setattr(2) and their numbers. The specification also has `SCHED_ISO`, a
/// number that Linux reserves and refuses.
static POLICIES: [(&str, u32); 6] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// Its flags.
static FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// The classes of ioprio_set(2).
static IO_CLASSES: [(&str, i32); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// The smallest runtime of `SCHED_DEADLINE` that the kernel accepts, in nanoseconds.
const SHORTEST: u64 = 1024;

/// `process.scheduler`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerPlan {
    /// The argument of sched_setattr(2).
    pub attributes: SchedAttr,
    /// Whether the container may not use all CPUs. Then the kernel refuses `SCHED_DEADLINE`.
    pub pinned: bool,
}

/// Decides `process.scheduler`.
pub fn scheduler(config: &config::Config<'_>, problems: &mut Problems) -> Option<SchedulerPlan> {
    const KEY: &str = "/process/scheduler";
    let given = config.process.as_ref()?.scheduler.as_ref()?;
    let name = &*given.policy;
    let Some((_, policy)) = POLICIES.iter().find(|(policy, _)| *policy == name) else {
        let text = match name {
            "" => "scheduler policy is required".to_owned(),
            "SCHED_ISO" => "Linux does not implement SCHED_ISO".to_owned(),
            _ => format!("invalid scheduler policy: {name}"),
        };
        problems.add(format_args!("{KEY}/policy"), text);
        return None;
    };
    if matches!(name, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&given.nice) {
        let text = format!(
            "invalid scheduler.nice: {} when scheduler.policy is {name} (-20 to 19)",
            given.nice
        );
        problems.add(format_args!("{KEY}/nice"), text);
    }
    check_priority(name, given.priority, problems);
    check_times(name, given, problems);
    let mut flags = 0;
    for (index, flag) in given.flags.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| *name == &**flag) {
            Some((_, bit)) => flags |= bit,
            None => problems.add(
                format_args!("{KEY}/flags/{index}"),
                format!("invalid scheduler flag: {}", &**flag),
            ),
        }
    }
    let attributes = SchedAttr {
        policy: *policy,
        flags,
        nice: given.nice,
        priority: given.priority.unsigned_abs(),
        runtime: given.runtime,
        deadline: given.deadline,
        period: given.period,
        ..SchedAttr::default()
    };
    Some(SchedulerPlan {
        attributes,
        pinned: config.linux.resources.cpu.as_ref().is_some_and(|cpu| !cpu.cpus.is_empty()),
    })
}

fn check_priority(policy: &str, priority: i32, problems: &mut Problems) {
    let text = match (policy, priority) {
        ("SCHED_FIFO" | "SCHED_RR", 1..=99) => return,
        ("SCHED_FIFO" | "SCHED_RR", _) => {
            format!(
                "invalid scheduler.priority: {priority} when scheduler.policy is {policy} (1 to 99)"
            )
        }
        (_, 0) => return,
        _ => "scheduler.priority can only be specified for SchedFIFO or SchedRR policy".to_owned(),
    };
    problems.add("/process/scheduler/priority", text);
}

fn check_times(policy: &str, given: &config::Scheduler<'_>, problems: &mut Problems) {
    let (runtime, deadline, period) = (given.runtime, given.deadline, given.period);
    if policy != "SCHED_DEADLINE" {
        if (runtime, deadline, period) != (0, 0, 0) {
            let text =
                "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
            problems.add("/process/scheduler", text);
        }
        return;
    }
    let end = if period == 0 { deadline } else { period };
    if runtime < SHORTEST || runtime > deadline || deadline > end {
        let text = format!(
            "runtime {runtime}, deadline {deadline} and period {period} must be in this order, and no less than {SHORTEST}"
        );
        problems.add("/process/scheduler", text);
    }
}

/// Decides `process.ioPriority`: the value for ioprio_set(2).
pub fn io_priority(given: Option<&config::IoPriority<'_>>, problems: &mut Problems) -> Option<i32> {
    let given = given?;
    let priority = i32::try_from(given.priority).ok().filter(|priority| (0..=7).contains(priority));
    if priority.is_none() {
        let text = format!("invalid ioPriority.Priority: {} (0 to 7)", given.priority);
        problems.add("/process/ioPriority/priority", text);
    }
    let class = IO_CLASSES.iter().find(|(name, _)| *name == &*given.class).map(|(_, class)| class);
    if class.is_none() {
        problems.add(
            "/process/ioPriority/class",
            format!("invalid ioPriority.Class: {:?}", &*given.class),
        );
    }
    Some(class? << 13 | priority?)
}

#[cfg(test)]
mod tests {
    use super::{SchedulerPlan, io_priority, scheduler};
    use crate::plan::{Problems, parse};

    /// The decision, or the first problem.
    fn decide(process: &str) -> Result<(Option<SchedulerPlan>, Option<i32>), String> {
        let text =
            format!(r#"{{"process":{process},"linux":{{"resources":{{"cpu":{{"cpus":"0"}}}}}}}}"#);
        let config = parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut problems = Problems::default();
        let io = config.process.as_ref().and_then(|process| process.io_priority.as_ref());
        let plan = (scheduler(&config, &mut problems), io_priority(io, &mut problems));
        match problems.found().first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok(plan),
        }
    }

    #[test]
    fn every_policy_has_its_number() {
        for (process, policy, priority, flags) in [
            (r#"{"policy":"SCHED_OTHER","nice":-20}"#, 0, 0, 0),
            (r#"{"policy":"SCHED_FIFO","priority":99}"#, 1, 99, 0),
            (r#"{"policy":"SCHED_RR","priority":1,"flags":["SCHED_FLAG_RESET_ON_FORK"]}"#, 2, 1, 1),
            (
                r#"{"policy":"SCHED_BATCH","nice":19,"flags":["SCHED_FLAG_KEEP_POLICY","SCHED_FLAG_KEEP_PARAMS"]}"#,
                3,
                0,
                24,
            ),
            (
                r#"{"policy":"SCHED_IDLE","flags":["SCHED_FLAG_UTIL_CLAMP_MIN","SCHED_FLAG_UTIL_CLAMP_MAX"]}"#,
                5,
                0,
                96,
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","nice":19,"runtime":1024,"deadline":1024,
                    "flags":["SCHED_FLAG_RECLAIM","SCHED_FLAG_DL_OVERRUN"]}"#,
                6,
                0,
                6,
            ),
        ] {
            let plan =
                decide(&format!(r#"{{"scheduler":{process}}}"#)).expect(process).0.expect(process);
            let found = plan.attributes;
            assert_eq!(
                (found.policy, found.priority, found.flags, plan.pinned),
                (policy, priority, flags, true),
                "{process}"
            );
        }
        assert_eq!(decide("{}"), Ok((None, None)));
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        for (scheduler, expected) in [
            ("{}", "process.scheduler.policy: scheduler policy is required"),
            (
                r#"{"policy":"SCHED_ISO"}"#,
                "process.scheduler.policy: Linux does not implement SCHED_ISO",
            ),
            (r#"{"policy":"OTHER"}"#, "process.scheduler.policy: invalid scheduler policy: OTHER"),
            (
                r#"{"policy":"SCHED_OTHER","nice":20}"#,
                "process.scheduler.nice: invalid scheduler.nice: 20",
            ),
            (
                r#"{"policy":"SCHED_BATCH","nice":-21}"#,
                "process.scheduler.nice: invalid scheduler.nice: -21",
            ),
            (
                r#"{"policy":"SCHED_FIFO"}"#,
                "process.scheduler.priority: invalid scheduler.priority: 0",
            ),
            (
                r#"{"policy":"SCHED_RR","priority":100}"#,
                "process.scheduler.priority: invalid scheduler.priority: 100",
            ),
            (
                r#"{"policy":"SCHED_RR","priority":-1}"#,
                "process.scheduler.priority: invalid scheduler.priority: -1",
            ),
            (
                r#"{"policy":"SCHED_OTHER","priority":1}"#,
                "process.scheduler.priority: scheduler.priority can only be",
            ),
            (
                r#"{"policy":"SCHED_OTHER","runtime":1}"#,
                "process.scheduler: scheduler runtime/deadline/period can only",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE"}"#,
                "process.scheduler: runtime 0, deadline 0 and period 0 must be",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":2000,"deadline":1999}"#,
                "process.scheduler: runtime 2000, deadline",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":2000,"deadline":3000,"period":2999}"#,
                "process.scheduler: runtime 2000, deadline 3000 and period 2999",
            ),
            (
                r#"{"policy":"SCHED_IDLE","flags":["RESET"]}"#,
                "process.scheduler.flags[0]: invalid scheduler flag: RESET",
            ),
        ] {
            let error = decide(&format!(r#"{{"scheduler":{scheduler}}}"#)).expect_err(scheduler);
            assert!(error.starts_with(expected), "{scheduler}: {error}");
        }
    }

    #[test]
    fn io_priorities_are_a_class_and_a_number() {
        for (given, value) in [
            (r#"{"class":"IOPRIO_CLASS_RT","priority":0}"#, 1 << 13),
            (r#"{"class":"IOPRIO_CLASS_BE","priority":7}"#, 2 << 13 | 7),
            (r#"{"class":"IOPRIO_CLASS_IDLE"}"#, 3 << 13),
        ] {
            assert_eq!(
                decide(&format!(r#"{{"ioPriority":{given}}}"#)),
                Ok((None, Some(value))),
                "{given}"
            );
        }
        for (given, expected) in [
            ("{}", "process.ioPriority.class: invalid ioPriority.Class: \"\""),
            (
                r#"{"class":"BE","priority":1}"#,
                "process.ioPriority.class: invalid ioPriority.Class: \"BE\"",
            ),
            (
                r#"{"class":"IOPRIO_CLASS_BE","priority":8}"#,
                "process.ioPriority.priority: invalid ioPriority.Priority: 8",
            ),
            (
                r#"{"class":"IOPRIO_CLASS_BE","priority":-1}"#,
                "process.ioPriority.priority: invalid ioPriority.Priority: -1",
            ),
            (
                r#"{"class":"IOPRIO_CLASS_BE","priority":4294967296}"#,
                "process.ioPriority.priority: invalid",
            ),
        ] {
            let error = decide(&format!(r#"{{"ioPriority":{given}}}"#)).expect_err(given);
            assert!(error.starts_with(expected), "{given}: {error}");
        }
    }
}
