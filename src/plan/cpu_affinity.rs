//! The CPUs of a process that joins the container.
//! config.json: process.execCPUAffinity.{initial, final}

use super::Problems;
use crate::config;

/// The number of CPUs in `cpu_set_t` of the kernel. No kernel has as many NUMA nodes.
const CPUS: usize = 1024;

/// Lists of CPU numbers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CpuAffinity {
    /// Before the process is in the cgroup of the container.
    pub initial: Option<Vec<usize>>,
    /// Afterwards.
    pub last: Option<Vec<usize>>,
}

/// Decides the lists.
pub fn decide(
    config: Option<&config::ExecCpuAffinity<'_>>,
    problems: &mut Problems,
) -> CpuAffinity {
    let Some(config) = config else { return CpuAffinity::default() };
    let mut read = |key: &str, text: &str| {
        if text.is_empty() {
            return None;
        }
        let cpus = parse_list(text);
        if cpus.is_none() {
            let text = format!("bad list of CPUs {text:?} (as in \"0-3,7\", up to {})", CPUS - 1);
            problems.add(format_args!("/process/execCPUAffinity/{key}"), text);
        }
        cpus
    };
    CpuAffinity { initial: read("initial", &config.initial), last: read("final", &config.last) }
}

/// A list of numbers and ranges (cpuset(7), "List format").
pub(super) fn parse_list(text: &str) -> Option<Vec<usize>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|cpu| digits && *cpu < CPUS)
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (number(first.trim())?, number(last.trim())?);
        if first > last {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse_list;

    #[test]
    fn lists_have_numbers_and_ranges() {
        assert_eq!(parse_list("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(parse_list("1023"), Some(vec![1023]));
        for text in ["", "a", "1-", "-1", "2-1", "0,,1", "1024", "+1", "0x1"] {
            assert_eq!(parse_list(text), None, "{text}");
        }
    }
}
