//! The share of cache and memory bandwidth, by the resctrl filesystem.
//! config.json: linux.intelRdt.{closID, schemata, l3CacheSchema, memBwSchema, enableMonitoring}

use std::path::PathBuf;

use super::{Host, Problems};
use crate::config;
use crate::error::Cause;

/// The decision.
#[derive(Debug, PartialEq, Eq)]
pub struct IntelRdtPlan {
    /// The directory of the control group; for the default group the root of the filesystem.
    pub group: PathBuf,
    /// The owner of the group.
    pub owner: GroupOwner,
    /// The lines for its schemata file, in their order.
    pub schemata: Vec<String>,
    /// The directory of the monitoring group, if the config has one.
    pub monitoring: Option<PathBuf>,
}

/// The owner of a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOwner {
    /// The container: the group is created if it does not exist, and then removed with the
    /// container.
    Container,
    /// Several containers. The group is created if it does not exist. If it exists, its schemata
    /// must be the same. It is never removed.
    Shared,
    /// Another program, which has created it.
    Other,
}

/// Directories of resctrl that are not groups.
static NO_GROUPS: [&str; 3] = ["info", "mon_data", "mon_groups"];

/// Decides the groups. `id` is the id of the container.
pub fn decide(
    given: Option<&config::IntelRdt<'_>>,
    id: &str,
    host: &Host,
    problems: &mut Problems,
) -> Option<IntelRdtPlan> {
    const KEY: &str = "/linux/intelRdt";
    let given = given?;
    let Some(resctrl) = host.extras.resctrl() else {
        problems.add_for(
            Cause::NoResctrl,
            KEY,
            "intelRdt is specified in config, but Intel RDT is not enabled (no resctrl is mounted)",
        );
        return None;
    };
    let clos = &*given.clos_id;
    let name = if clos.is_empty() { id } else { clos };
    if clos != "/"
        && (matches!(name, "." | "..")
            || name.contains(['/', '\n', '\0'])
            || NO_GROUPS.contains(&name))
    {
        problems.add(format_args!("{KEY}/closID"), format!("invalid intelRdt.ClosID {name:?}"));
    }
    for (key, value, there, text) in [
        ("l3CacheSchema", &given.l3_cache_schema, resctrl.l3, "Intel RDT/CAT is not enabled"),
        ("memBwSchema", &given.mem_bw_schema, resctrl.mb, "Intel RDT/MBA is not enabled"),
    ] {
        if !value.is_empty() && !there {
            let text = format!("intelRdt.{key} is specified in config, but {text}");
            problems.add_for(Cause::NoResctrl, format_args!("{KEY}/{key}"), text);
        }
    }
    if !given.mem_bw_schema.is_empty()
        && (!given.mem_bw_schema.starts_with("MB:") || given.mem_bw_schema.contains('\n'))
    {
        problems
            .add(format_args!("{KEY}/memBwSchema"), "must be one line that starts with \"MB:\"");
    }
    for (index, _) in given.schemata.iter().enumerate().filter(|(_, line)| line.contains('\n')) {
        problems.add(format_args!("{KEY}/schemata/{index}"), "must not contain a newline");
    }
    let lines = [&given.l3_cache_schema, &given.mem_bw_schema].into_iter().chain(&given.schemata);
    let schemata: Vec<String> =
        lines.filter(|line| !line.is_empty()).map(ToString::to_string).collect();
    let group = if clos == "/" { resctrl.mount.clone() } else { resctrl.mount.join(name) };
    Some(IntelRdtPlan {
        owner: match (clos.is_empty(), schemata.is_empty()) {
            (true, _) => GroupOwner::Container,
            (false, false) => GroupOwner::Shared,
            (false, true) => GroupOwner::Other,
        },
        schemata,
        monitoring: given.enable_monitoring.then(|| group.join("mon_groups").join(id)),
        group,
    })
}

#[cfg(test)]
mod tests {
    use super::{GroupOwner, IntelRdtPlan, decide};
    use crate::host::extras::{Extras, Resctrl};
    use crate::plan::{Host, Problems, parse};

    fn plan(given: &str, resctrl: Option<(bool, bool)>) -> Result<Option<IntelRdtPlan>, String> {
        let resctrl = resctrl.map(|(l3, mb)| Resctrl { mount: "/r".into(), l3, mb });
        let host = Host { extras: Extras::known(&[], resctrl), ..Host::for_tests() };
        let text = format!(r#"{{"linux":{{"intelRdt":{given}}}}}"#);
        let config = parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut problems = Problems::default();
        let plan = decide(config.linux.intel_rdt.as_ref(), "box", &host, &mut problems);
        match problems.found().first() {
            Some(problem) => Err(problem.to_string()),
            None => Ok(plan),
        }
    }

    #[test]
    fn a_group_is_named_and_owned_by_the_rules_of_the_specification() {
        for (given, group, owner, schemata, monitoring) in [
            ("{}", "/r/box", GroupOwner::Container, &[][..], None),
            (r#"{"schemata":["L2:0=f"]}"#, "/r/box", GroupOwner::Container, &["L2:0=f"], None),
            (r#"{"closID":"x"}"#, "/r/x", GroupOwner::Other, &[], None),
            (
                r#"{"closID":"x","memBwSchema":"MB:0=20","l3CacheSchema":"L3:0=f","schemata":["L2:0=f","","L3:1=f"]}"#,
                "/r/x",
                GroupOwner::Shared,
                &["L3:0=f", "MB:0=20", "L2:0=f", "L3:1=f"],
                None,
            ),
            (r#"{"closID":"/"}"#, "/r", GroupOwner::Other, &[], None),
            (
                r#"{"closID":"/","enableMonitoring":true}"#,
                "/r",
                GroupOwner::Other,
                &[],
                Some("/r/mon_groups/box"),
            ),
            (
                r#"{"enableMonitoring":true}"#,
                "/r/box",
                GroupOwner::Container,
                &[],
                Some("/r/box/mon_groups/box"),
            ),
        ] {
            let expected = IntelRdtPlan {
                group: group.into(),
                owner,
                schemata: schemata.iter().map(ToString::to_string).collect(),
                monitoring: monitoring.map(Into::into),
            };
            assert_eq!(plan(given, Some((true, true))), Ok(Some(expected)), "{given}");
        }
        assert_eq!(plan("null", None), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (given, resctrl, expected) in [
            (
                "{}",
                None,
                "linux.intelRdt: intelRdt is specified in config, but Intel RDT is not enabled",
            ),
            (
                r#"{"closID":"."}"#,
                Some((true, true)),
                "linux.intelRdt.closID: invalid intelRdt.ClosID \".\"",
            ),
            (
                r#"{"closID":".."}"#,
                Some((true, true)),
                "linux.intelRdt.closID: invalid intelRdt.ClosID \"..\"",
            ),
            (
                r#"{"closID":"a/b"}"#,
                Some((true, true)),
                "linux.intelRdt.closID: invalid intelRdt.ClosID \"a/b\"",
            ),
            (
                r#"{"closID":"//"}"#,
                Some((true, true)),
                "linux.intelRdt.closID: invalid intelRdt.ClosID \"//\"",
            ),
            (
                r#"{"closID":"info"}"#,
                Some((true, true)),
                "linux.intelRdt.closID: invalid intelRdt.ClosID \"info\"",
            ),
            (
                r#"{"l3CacheSchema":"L3:0=f"}"#,
                Some((false, true)),
                "linux.intelRdt.l3CacheSchema: intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled",
            ),
            (
                r#"{"memBwSchema":"MB:0=20"}"#,
                Some((true, false)),
                "linux.intelRdt.memBwSchema: intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled",
            ),
            (
                r#"{"memBwSchema":"L3:0=f"}"#,
                Some((true, true)),
                "linux.intelRdt.memBwSchema: must be one line that",
            ),
            (
                r#"{"memBwSchema":"MB:0=2\nL3:0=f"}"#,
                Some((true, true)),
                "linux.intelRdt.memBwSchema: must be one line",
            ),
            (
                r#"{"schemata":["a","b\nc"]}"#,
                Some((true, true)),
                "linux.intelRdt.schemata[1]: must not contain a newline",
            ),
        ] {
            let error = plan(given, resctrl).expect_err(given);
            assert!(error.starts_with(expected), "{given}: {error}");
        }
    }
}
