//! Finds unknown keys of a `linux.resources` object, so that a limit is not ignored without a
//! warning.
//!
//! runc accepts a key in any case, as Go does. The specification and this program do not.

use serde_json::Value;

/// The keys of each object, by its place. `*` stands for any key, or for the elements of an array.
const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "devices",
            "memory",
            "cpu",
            "pids",
            "blockIO",
            "hugepageLimits",
            "network",
            "rdma",
            "unified",
        ],
    ),
    ("/devices/*", &["allow", "type", "major", "minor", "access"]),
    (
        "/memory",
        &[
            "limit",
            "reservation",
            "swap",
            "kernel",
            "kernelTCP",
            "swappiness",
            "disableOOMKiller",
            "useHierarchy",
            "checkBeforeUpdate",
        ],
    ),
    (
        "/cpu",
        &[
            "shares",
            "quota",
            "burst",
            "period",
            "realtimeRuntime",
            "realtimePeriod",
            "cpus",
            "mems",
            "idle",
        ],
    ),
    ("/pids", &["limit"]),
    (
        "/blockIO",
        &[
            "weight",
            "leafWeight",
            "weightDevice",
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ],
    ),
    ("/blockIO/weightDevice/*", &["major", "minor", "weight", "leafWeight"]),
    ("/blockIO/throttleReadBpsDevice/*", &["major", "minor", "rate"]),
    ("/blockIO/throttleWriteBpsDevice/*", &["major", "minor", "rate"]),
    ("/blockIO/throttleReadIOPSDevice/*", &["major", "minor", "rate"]),
    ("/blockIO/throttleWriteIOPSDevice/*", &["major", "minor", "rate"]),
    ("/hugepageLimits/*", &["pageSize", "limit"]),
    ("/network", &["classID", "priorities"]),
    ("/network/priorities/*", &["name", "priority"]),
    ("/rdma", &["*"]),
    ("/rdma/*", &["hcaHandles", "hcaObjects"]),
    ("/unified", &["*"]),
];

/// Warnings about the keys in `text` that are ignored. None if `text` is not JSON.
pub(super) fn unknown(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice(text) {
        look("", "", &value, &mut found);
    }
    found
}

/// `place` is the path in the table, `shown` the path in the file.
fn look(place: &str, shown: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                look(&format!("{place}/*"), &format!("{shown}[{index}]"), element, found);
            }
        }
        Value::Object(pairs) => {
            let Some((_, keys)) = KEYS.iter().find(|(of, _)| *of == place) else { return };
            for (key, value) in pairs {
                let shown = if shown.is_empty() { key.clone() } else { format!("{shown}.{key}") };
                match keys.iter().find(|known| **known == "*" || **known == key) {
                    Some(known) => look(&format!("{place}/{known}"), &shown, value, found),
                    None => found.push(ignored(&shown, key, keys)),
                }
            }
        }
        _ => {}
    }
}

fn ignored(shown: &str, key: &str, keys: &[&str]) -> String {
    match keys.iter().find(|known| known.eq_ignore_ascii_case(key)) {
        Some(known) => {
            format!("{shown}: ignored, since the case of a key counts: {known:?} is one")
        }
        None => format!("{shown}: ignored, there is no such key"),
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYS, unknown};
    use crate::config::Resources;

    #[test]
    fn keys_without_a_meaning_are_reported() {
        for (text, expected) in [
            (
                r#"{"memory":{"limit":1},"unified":{"cpu.max":"1"},"rdma":{"m":{"hcaHandles":1}}}"#,
                &[][..],
            ),
            (
                r#"{"CPU":{"shares":1}}"#,
                &["CPU: ignored, since the case of a key counts: \"cpu\" is one"],
            ),
            (r#"{"memory":{"moon":1}}"#, &["memory.moon: ignored, there is no such key"]),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1,"Limit":2}],"rdma":{"m":{"x":1}}}"#,
                &[
                    "hugepageLimits[0].Limit: ignored, since the case of a key counts: \"limit\" is one",
                    "rdma.m.x: ignored, there is no such key",
                ],
            ),
        ] {
            assert_eq!(unknown(text.as_bytes()), expected, "{text}");
        }
    }

    /// A value of a type that no key has is an error for each key that exists.
    #[test]
    fn the_table_has_the_keys_that_are_read() {
        for (place, keys) in KEYS {
            for key in keys.iter().filter(|key| **key != "*") {
                let mut text = format!(r#"{{"{key}":[[true]]}}"#);
                for part in place.split('/').skip(1).collect::<Vec<_>>().into_iter().rev() {
                    text = match part {
                        "*" if place.starts_with("/rdma") => format!(r#"{{"m":{text}}}"#),
                        "*" => format!("[{text}]"),
                        part => format!(r#"{{"{part}":{text}}}"#),
                    };
                }
                let error =
                    serde_json::from_str::<Resources<'_>>(&text).expect_err(&text).to_string();
                assert!(error.starts_with("invalid "), "{text}: {error}");
            }
        }
    }
}
