//! Parses text of OpenMetrics 1.0, and accepts nothing that the specification forbids.

use std::collections::BTreeMap;

/// A family's type, and its samples: the labels besides the container's id, and the value.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub unit: Option<String>,
    pub help: Option<String>,
    pub samples: Vec<(BTreeMap<String, String>, f64)>,
}

/// Parses a text, and panics at everything that the specification forbids ("Text Format", "Data
/// Model", "Metric Types").
#[track_caller]
pub fn parse(text: &str, id: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut present = String::new();
    for line in body.split_terminator('\n') {
        assert!(!line.is_empty() && !line.ends_with([' ', '\r']), "{line:?}");
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a word and a name");
            let (name, value) = rest.split_once(' ').expect("a name and a value");
            assert!(is_name(name, true) && !value.is_empty(), "{line}");
            if name != present {
                assert!(
                    families.insert(name.to_owned(), Family::default()).is_none(),
                    "{name} comes twice"
                );
                present = name.to_owned();
            }
            let family = families.get_mut(name).unwrap();
            assert!(family.samples.is_empty(), "{line}: behind samples");
            let old = match word {
                "TYPE" => {
                    let kinds = ["counter", "gauge", "info", "stateset"];
                    assert!(kinds.contains(&value), "{line}: none of the types that can be meant");
                    let old = std::mem::replace(&mut family.kind, value.to_owned());
                    Some(old).filter(|old| !old.is_empty())
                }
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{value}")), "{line}: a unit ends the name");
                    family.unit.replace(value.to_owned())
                }
                "HELP" => family.help.replace(value.to_owned()),
                _ => panic!("{line}: no word of the specification"),
            };
            assert_eq!(old, None, "{line}: said before");
            continue;
        }
        let family = families.get_mut(&present).expect("a sample has a family");
        let sample = sample(line, &present, family, id);
        let labels: Vec<_> = family.samples.iter().map(|(labels, _)| labels).collect();
        assert!(!labels.contains(&&sample.0), "{line}: comes twice");
        family.samples.push(sample);
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty() && family.help.is_some(), "{name}: {family:?}");
        assert!(
            family.unit.is_none() || !["info", "stateset"].contains(&&*family.kind),
            "{name} can have no unit"
        );
        for suffix in
            ["_total", "_created", "_count", "_sum", "_bucket", "_info", "_gsum", "_gcount"]
        {
            assert!(!name.ends_with(suffix), "{name}: {suffix} is for the names of samples");
        }
    }
    families
}

/// `name{label="value",…} number`
#[track_caller]
fn sample(
    line: &str,
    family_name: &str,
    family: &Family,
    id: &str,
) -> (BTreeMap<String, String>, f64) {
    let (name, rest) = line.split_once('{').expect("labels");
    let (labels, value) = rest.rsplit_once("} ").expect("a value behind the labels");
    let suffix =
        name.strip_prefix(family_name).unwrap_or_else(|| panic!("{line}: in {family_name}"));
    let expected = match family.kind.as_str() {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    assert_eq!(suffix, expected, "{line}: the suffix of a {}", family.kind);
    let mut found = BTreeMap::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").expect("a label and its value");
        assert!(is_name(label, false), "{line}");
        let end = after.find('"').expect("the value ends");
        assert!(!after[..end].contains('\\'), "{line}: nothing here needs an escape");
        assert!(
            found.insert(label.to_owned(), after[..end].to_owned()).is_none(),
            "{line}: {label} comes twice"
        );
        rest = &after[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').expect("a comma between labels");
            assert!(!rest.is_empty(), "{line}: a comma at the end");
        }
    }
    assert_eq!(found.remove("container_id").as_deref(), Some(id), "{line}");
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = value
        .trim_start_matches('-')
        .split_once('.')
        .unwrap_or((value.trim_start_matches('-'), "0"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        _ => {
            assert!(digits(whole) && digits(part), "{line}: no number");
            value.parse().unwrap()
        }
    };
    match family.kind.as_str() {
        "counter" => assert!(value >= 0.0 && value.is_finite(), "{line}"),
        "info" => assert!(value == 1.0, "{line}"),
        "stateset" => {
            assert!((value == 0.0 || value == 1.0) && found.contains_key(family_name), "{line}")
        }
        _ => {}
    }
    (found, value)
}

fn is_name(text: &str, colon: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    text.chars().all(good) && text.starts_with(|c: char| !c.is_ascii_digit())
}
