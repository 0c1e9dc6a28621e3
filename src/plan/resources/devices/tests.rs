//! The policies of device rules, on both versions.

use super::{Access, DevicePolicy, Verdict, decide};
use crate::config::Resources;
use crate::host::cgroups::{CgroupLayout, Hierarchy};
use crate::plan::Problems;

/// The default rules as text of v1, without those that a wider rule includes.
const DEFAULTS: &str = "c *:* m,b *:* m,c 1:3 rwm,c 1:8 rwm,c 1:7 rwm,c 5:0 rwm,c 1:5 rwm,c 1:9 rwm,c 136:* rwm,\
    c 5:2 rwm,c 10:200 rwm";

fn legacy() -> CgroupLayout {
    let devices = Hierarchy { controllers: vec!["devices".into()], ..Hierarchy::default() };
    CgroupLayout::Legacy { hierarchies: vec![devices], unified: None }
}

fn unified() -> CgroupLayout {
    CgroupLayout::Unified { mount: "/sys/fs/cgroup".into(), own: "/".into(), controllers: vec![] }
}

fn policy(rules: &str, layout: &CgroupLayout, problems: &mut Problems) -> DevicePolicy {
    let config = format!(r#"{{"devices": [{rules}]}}"#);
    let resources: Resources<'_> = serde_json::from_str(&config).expect("JSON");
    decide(&resources.devices, layout, problems)
}

/// `+` or `-` for the default, and the rules. A rule with the verdict of the default, which v1
/// cannot have, has a `!`.
fn text(policy: &DevicePolicy) -> String {
    let sign = |verdict| if verdict == Verdict::Allow { '+' } else { '-' };
    let rules: Vec<_> = policy
        .rules
        .iter()
        .map(|rule| {
            let odd = if rule.verdict == policy.default { "!" } else { "" };
            format!("{odd}{}", rule.to_v1())
        })
        .collect();
    format!("{} {}", sign(policy.default), rules.join(","))
}

const DENY_ALL: &str = r#"{"allow": false, "access": "rwm"}"#;
const ALLOW_ALL: &str =
    r#"{"allow": true, "type": "a", "major": -1, "minor": -1, "access": "rwm"}"#;
const MKNOD: &str = r#"{"allow": true, "type": "c", "access": "m"}"#;
const TAPE: &str = r#"{"allow": true, "type": "b", "major": 9, "minor": 1, "access": "r"}"#;
const TAPE_WRITE: &str = r#"{"allow": true, "type": "b", "major": 9, "minor": 1, "access": "w"}"#;
const TAPES: &str = r#"{"allow": true, "type": "b", "major": 9, "access": "rw"}"#;
const NO_TAPE: &str = r#"{"allow": false, "type": "b", "major": 9, "minor": 1, "access": "rw"}"#;
const NO_TAPES: &str = r#"{"allow": false, "type": "b", "major": 9, "access": "rwm"}"#;
const NO_NULL: &str = r#"{"allow": false, "type": "c", "major": 1, "minor": 3, "access": "rwm"}"#;
const NO_PTS: &str = r#"{"allow": false, "type": "c", "major": 136, "minor": 4, "access": "rw"}"#;
const ANY_8: &str = r#"{"allow": true, "major": 8, "minor": 0, "access": "r"}"#;

#[test]
fn rules_become_a_policy_of_both_versions() {
    for (rules, expected) in [
        (vec![], format!("- {DEFAULTS}")),
        (vec![DENY_ALL, MKNOD], format!("- {DEFAULTS}")),
        (vec![TAPE, DENY_ALL], format!("- {DEFAULTS}")),
        (vec![DENY_ALL, TAPE, TAPE_WRITE], format!("- b 9:1 rw,{DEFAULTS}")),
        (vec![TAPE, TAPES], format!("- b 9:* rw,{DEFAULTS}")),
        (vec![ANY_8], format!("- b 8:0 r,c 8:0 r,{DEFAULTS}")),
        (vec![ALLOW_ALL], "+ ".to_owned()),
        (vec![TAPE, ALLOW_ALL], "+ ".to_owned()),
        (vec![ALLOW_ALL, NO_TAPE], "+ b 9:1 rw".to_owned()),
        (vec![ALLOW_ALL, NO_PTS], "+ c 136:4 rw".to_owned()),
    ] {
        for layout in [legacy(), unified()] {
            let mut problems = Problems::default();
            assert_eq!(
                text(&policy(&rules.join(","), &layout, &mut problems)),
                expected,
                "{rules:?}"
            );
            assert!(problems.found().is_empty(), "{problems:?}");
        }
    }
}

#[test]
fn v1_folds_what_v2_keeps_in_order() {
    for (rules, v1, v2) in [
        (vec![TAPE, NO_TAPES], format!("- {DEFAULTS}"), format!("- b 9:1 r,!b 9:* rwm,{DEFAULTS}")),
        (vec![TAPE, NO_TAPE], format!("- {DEFAULTS}"), format!("- b 9:1 r,!b 9:1 rw,{DEFAULTS}")),
        (vec![NO_NULL], format!("- {DEFAULTS}"), format!("- !c 1:3 rwm,{DEFAULTS}")),
        (vec![ALLOW_ALL, NO_NULL], "+ ".to_owned(), "+ c 1:3 rwm,!c 1:3 rwm".to_owned()),
        (vec![ALLOW_ALL, NO_TAPE, TAPE], "+ b 9:1 w".to_owned(), "+ b 9:1 rw,!b 9:1 r".to_owned()),
    ] {
        for (layout, expected) in [(legacy(), v1), (unified(), v2)] {
            let mut problems = Problems::default();
            assert_eq!(
                text(&policy(&rules.join(","), &layout, &mut problems)),
                expected,
                "{rules:?}"
            );
            assert!(problems.found().is_empty(), "{problems:?}");
        }
    }
}

#[test]
fn v1_cannot_cut_holes() {
    let mut problems = Problems::default();
    let _ = policy(&[DENY_ALL, TAPES, NO_TAPE].join(","), &legacy(), &mut problems);
    assert_eq!(problems.found().len(), 1);
    assert_eq!(problems.found()[0].key, "/linux/resources/devices/2");
    let mut problems = Problems::default();
    let policy = policy(&[DENY_ALL, TAPES, NO_TAPE].join(","), &unified(), &mut problems);
    assert_eq!(text(&policy), format!("- b 9:* rw,!b 9:1 rw,{DEFAULTS}"));
    assert!(problems.found().is_empty());
}

#[test]
fn rules_that_mean_nothing_are_problems() {
    for (rule, key) in [
        (r#"{"allow": true}"#, "access"),
        (r#"{"allow": true, "access": "rx"}"#, "access"),
        (r#"{"allow": true, "access": "r", "type": "p"}"#, "type"),
        (r#"{"allow": true, "access": "r", "type": "c", "major": -2}"#, "major"),
        (r#"{"allow": true, "access": "r", "type": "c", "minor": 4294967296}"#, "minor"),
    ] {
        let mut problems = Problems::default();
        let _ = policy(rule, &unified(), &mut problems);
        assert_eq!(problems.found()[0].key, format!("/linux/resources/devices/0/{key}"), "{rule}");
    }
}

#[test]
fn a_machine_without_the_controller_cannot_limit_devices() {
    let nothing = CgroupLayout::Legacy { hierarchies: vec![], unified: None };
    let mut problems = Problems::default();
    let _ = policy("", &nothing, &mut problems);
    assert_eq!(problems.found()[0].key, super::KEY);
    let mut problems = Problems::default();
    let _ = policy(ALLOW_ALL, &nothing, &mut problems);
    assert!(problems.found().is_empty());
}

#[test]
fn accesses_are_sets_of_letters() {
    for (letters, printed) in [("mwr", "rwm"), ("r", "r"), ("mm", "m"), ("wr", "rw")] {
        assert_eq!(Access::parse(letters).map(Access::letters).as_deref(), Some(printed));
    }
    assert_eq!(Access::parse("ra"), None);
}
