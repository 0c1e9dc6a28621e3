//! The NUMA memory policy.
//! config.json: linux.memoryPolicy.{mode, nodes, flags}

use super::Problems;
use super::cpu_affinity::parse_list;
use crate::config;

/// The modes of set_mempolicy(2) and their numbers, sorted by name.
pub static MODES: [(&str, u32); 7] = [
    ("MPOL_BIND", 2),
    ("MPOL_DEFAULT", 0),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED", 1),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// Its flags, sorted by name.
pub static FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryPolicyPlan {
    /// The mode, with the flags.
    pub mode: u32,
    /// A bit for each node.
    pub nodes: Vec<u64>,
}

/// Decides the policy.
pub fn decide(
    given: Option<&config::MemoryPolicy<'_>>,
    problems: &mut Problems,
) -> Option<MemoryPolicyPlan> {
    const KEY: &str = "/linux/memoryPolicy";
    let given = given?;
    let name = &*given.mode;
    let Some((_, number)) = MODES.iter().find(|(mode, _)| *mode == name) else {
        problems.add(format_args!("{KEY}/mode"), format!("invalid memory policy mode {name:?}"));
        return None;
    };
    let nodes = if given.nodes.is_empty() { Some(Vec::new()) } else { parse_list(&given.nodes) };
    let Some(nodes) = nodes else {
        let text = format!(
            "invalid memory policy nodes {:?} (as in \"0-3,7\", up to 1023)",
            &*given.nodes
        );
        problems.add(format_args!("{KEY}/nodes"), text);
        return None;
    };
    let nodes = mask(&nodes);
    let count: u32 = nodes.iter().map(|word| word.count_ones()).sum();
    match name {
        "MPOL_DEFAULT" | "MPOL_LOCAL" if count > 0 => {
            problems.add(
                format_args!("{KEY}/nodes"),
                format!("memory policy mode requires 0 nodes but got {count}"),
            );
        }
        "MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED" => {}
        _ if count == 0 => {
            problems.add(
                format_args!("{KEY}/nodes"),
                "memory policy mode requires at least one node but got 0",
            );
        }
        _ => {}
    }
    let mut mode = *number;
    for (index, flag) in given.flags.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| *name == &**flag) {
            Some((_, bit)) => mode |= bit,
            None => {
                problems.add(
                    format_args!("{KEY}/flags/{index}"),
                    format!("invalid memory policy flag {:?}", &**flag),
                );
            }
        }
    }
    Some(MemoryPolicyPlan { mode, nodes })
}

/// In the form of the kernel: words of 64 bits.
fn mask(nodes: &[usize]) -> Vec<u64> {
    let mut words = vec![0; nodes.iter().max().map_or(0, |last| last / 64 + 1)];
    for node in nodes {
        if let Some(word) = words.get_mut(node / 64) {
            *word |= 1 << (node % 64);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{FLAGS, MODES, MemoryPolicyPlan, decide};
    use crate::plan::{Problems, parse};

    fn plan(given: &str) -> Result<Option<MemoryPolicyPlan>, String> {
        let text = format!(r#"{{"linux":{{"memoryPolicy":{given}}}}}"#);
        let config = parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut problems = Problems::default();
        let plan = decide(config.linux.memory_policy.as_ref(), &mut problems);
        match problems.found().first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok(plan),
        }
    }

    #[test]
    fn modes_and_flags_are_added_up() {
        assert!(MODES.is_sorted() && FLAGS.is_sorted());
        for (given, mode, nodes) in [
            (r#"{"mode":"MPOL_DEFAULT"}"#, 0, vec![]),
            (r#"{"mode":"MPOL_PREFERRED"}"#, 1, vec![]),
            (
                r#"{"mode":"MPOL_PREFERRED","nodes":"1","flags":["MPOL_F_RELATIVE_NODES"]}"#,
                1 | 1 << 14,
                vec![2],
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0-3,7","flags":["MPOL_F_STATIC_NODES"]}"#,
                2 | 1 << 15,
                vec![0x8f],
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_NUMA_BALANCING"]}"#,
                2 | 1 << 13,
                vec![1],
            ),
            (r#"{"mode":"MPOL_INTERLEAVE","nodes":"64,63"}"#, 3, vec![1 << 63, 1]),
            (r#"{"mode":"MPOL_LOCAL"}"#, 4, vec![]),
            (r#"{"mode":"MPOL_PREFERRED_MANY","nodes":"1"}"#, 5, vec![2]),
            (r#"{"mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"1"}"#, 6, vec![2]),
        ] {
            assert_eq!(plan(given), Ok(Some(MemoryPolicyPlan { mode, nodes })), "{given}");
        }
    }

    #[test]
    fn bad_policies_are_refused() {
        for (given, expected) in [
            ("{}", "linux.memoryPolicy.mode: invalid memory policy mode \"\""),
            (r#"{"nodes":"0-7"}"#, "linux.memoryPolicy.mode: invalid memory policy mode \"\""),
            (
                r#"{"mode":"BIND","nodes":"0"}"#,
                "linux.memoryPolicy.mode: invalid memory policy mode \"BIND\"",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"1024"}"#,
                "linux.memoryPolicy.nodes: invalid memory policy nodes \"1024\"",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0-9876543210"}"#,
                "linux.memoryPolicy.nodes: invalid memory policy nodes",
            ),
            (
                r#"{"mode":"MPOL_BIND"}"#,
                "linux.memoryPolicy.nodes: memory policy mode requires at least one node but got 0",
            ),
            (
                r#"{"mode":"MPOL_DEFAULT","nodes":"0-7"}"#,
                "linux.memoryPolicy.nodes: memory policy mode requires 0 nodes but got 8",
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","x"]}"#,
                "linux.memoryPolicy.flags[1]: invalid memory policy flag \"x\"",
            ),
        ] {
            let error = plan(given).expect_err(given);
            assert!(error.starts_with(expected), "{given}: {error}");
        }
    }
}
