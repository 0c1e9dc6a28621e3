//! Finds all problems of a config.json, for `check`. It uses the same code as `create`, which stops
//! at the first problem.
//!
//! A value with a wrong type is replaced by a valid one, so that the others can be read and
//! checked. What depends on such a value is not checked, since the problems that would be found are
//! not those of the user.

use std::borrow::Cow;

use serde_json::Value;

use super::form::{Expected, Unreadable, read_config};
use super::{Host, Plan, Problems, Request, parse};
use crate::error::Problem;
use crate::host::cgroups::CgroupLayout;

/// The result for a config.
#[derive(Debug, Default)]
pub struct Review {
    /// The plan, with harmless values in the place of wrong ones; `None` if the config, or a part
    /// that everything else depends on, cannot be read.
    pub plan: Option<Plan>,
    /// The problems.
    pub problems: Vec<Problem>,
}

/// The parts that others depend on.
const FOUNDATIONS: [&str; 3] = ["", "/linux", "/linux/namespaces"];

/// The search ends after this number of values with a wrong type.
const MOST: usize = 100;

impl Plan {
    /// Makes the plan of a new container, and continues where [`Plan::for_create`] stops.
    #[must_use]
    pub fn review(
        text: &[u8],
        request: &Request<'_>,
        host: &Host,
        layout: &CgroupLayout,
    ) -> Review {
        let Readable { text, unreadable: problems, replaced } = Readable::of(text);
        let Some(Ok(mut config)) = text.as_ref().map(|text| parse(text)) else {
            return Review { plan: None, problems };
        };
        let subtrees: Vec<&str> = replaced.iter().map(|pointer| subtree(pointer)).collect();
        if subtrees.iter().any(|subtree| FOUNDATIONS.contains(subtree)) {
            return Review { plan: None, problems };
        }
        request.add_to(&mut config);
        let mut decided = Problems::default();
        let plan = Self::decide(&config, request, host, layout, &mut decided);
        let judged =
            |problem: &&Problem| !subtrees.iter().any(|subtree| is_below(&problem.key, subtree));
        let problems =
            problems.into_iter().chain(decided.found().iter().filter(judged).cloned()).collect();
        Review { plan: Some(plan), problems }
    }
}

/// A config.json that has been made readable.
struct Readable<'a> {
    /// The text; `None` if it is not JSON or cannot be made readable.
    text: Option<Cow<'a, [u8]>>,
    /// The problems of the original text.
    unreadable: Vec<Problem>,
    /// The pointers of all values that were replaced.
    replaced: Vec<String>,
}

impl<'a> Readable<'a> {
    fn of(text: &'a [u8]) -> Self {
        let mut readable = Self { text: None, unreadable: Vec::new(), replaced: Vec::new() };
        let mut text = Cow::Borrowed(text);
        while let Err(error) = read_config(&text) {
            let document =
                serde_json::from_slice(&text).ok().filter(|_| readable.replaced.len() < MOST);
            let repaired = document.and_then(|document| readable.repair(document, &error));
            // A problem with a value that we have inserted is not a problem of the user.
            if !readable.replaced.contains(&error.problem.key)
                || repaired.is_none() && readable.unreadable.is_empty()
            {
                // The position is only known in the text of the user, not in ours.
                let own = matches!(text, Cow::Owned(_));
                let problem = if own { error.problem } else { error.with_position() };
                readable.unreadable.push(problem);
            }
            let Some((repaired, pointer)) = repaired else { return readable };
            readable.replaced.push(pointer);
            text = Cow::Owned(repaired);
        }
        readable.text = Some(text);
        readable
    }

    /// The document without the problem, and the pointer of the changed value.
    fn repair(&self, mut document: Value, error: &Unreadable) -> Option<(Vec<u8>, String)> {
        let Unreadable { problem, missing, expected, .. } = error;
        let pointer = match missing {
            Some(name)
                if !self
                    .replaced
                    .iter()
                    .any(|known| *known == format!("{}/{name}", problem.key)) =>
            {
                document
                    .pointer_mut(&problem.key)?
                    .as_object_mut()?
                    .insert(name.clone(), Value::Null);
                format!("{}/{name}", problem.key)
            }
            // The inserted value was wrong too, so the value that contains it is replaced.
            _ if self.replaced.contains(&problem.key) => problem.key.rsplit_once('/')?.0.to_owned(),
            _ => problem.key.clone(),
        };
        if pointer.is_empty() {
            return None;
        }
        *document.pointer_mut(&pointer)? = placeholder(*expected, missing.is_some());
        Some((serde_json::to_vec(&document).ok()?, pointer))
    }
}

/// A value of the expected type.
fn placeholder(expected: Expected, missing: bool) -> Value {
    match expected {
        Expected::String => "".into(),
        Expected::Object => Value::Object(serde_json::Map::new()),
        Expected::Array => Value::Array(Vec::new()),
        Expected::Boolean => false.into(),
        Expected::Integer => 0.into(),
        Expected::Other if missing => "".into(),
        Expected::Other => Value::Null,
    }
}

/// The part that `pointer` belongs to: `/process/args`, `/mounts/3`, `/linux/seccomp`.
fn subtree(pointer: &str) -> &str {
    let ends = pointer.match_indices('/').map(|(at, _)| at).nth(2);
    ends.and_then(|end| pointer.get(..end)).unwrap_or(pointer)
}

/// Whether `pointer` is `above` or below it.
#[must_use]
pub fn is_below(pointer: &str, above: &str) -> bool {
    pointer.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::error::Failure;
    use crate::host::cgroups::CgroupLayout;
    use crate::plan::{Host, Plan, Request};

    fn layout() -> CgroupLayout {
        CgroupLayout::Unified {
            mount: "/sys/fs/cgroup".into(),
            own: "/".into(),
            controllers: Vec::new(),
        }
    }

    fn pointers(text: &str) -> Vec<String> {
        let request = Request { id: "web", bundle: Path::new("/b"), ..Request::default() };
        let review = Plan::review(text.as_bytes(), &request, &Host::for_tests(), &layout());
        review.problems.into_iter().map(|problem| problem.key).collect()
    }

    /// The required parts of a config. Without them there would be more problems.
    const FINE: &str = r#""root":{"path":"r"},"process":{"args":["a"],"cwd":"/"}"#;

    #[test]
    fn what_can_be_read_is_judged_though_other_things_cannot() {
        let namespaces = r#""linux":{"namespaces":[{"type":"mount"}]}"#;
        for (text, expected) in [
            (
                r#"{"root":{"path":7},"process":{"args":[1,2],"cwd":"x"}}"#,
                &["/process/args/0", "/process/args/1", "/root/path", "/process/cwd"][..],
            ),
            (
                r#"{"root":{},"process":{"args":[],"cwd":true}}"#,
                &["/process/cwd", "/root", "/process/args"],
            ),
            (
                &format!(
                    r#"{{{FINE},"mounts":[{{"destination":7}},{{"destination":"/x","type":"bind"}}],{namespaces}}}"#
                ),
                &["/mounts/0/destination", "/mounts/1/source"],
            ),
            // The wrong value hides problems in this part.
            (
                &format!(r#"{{{FINE},"hostname":"x","linux":{{"namespaces":"pid"}}}}"#),
                &["/linux/namespaces"],
            ),
            (
                &format!(
                    r#"{{{FINE},"linux":{{"seccomp":{{"defaultAction":7,"flags":["X"]}},"sysctl":[]}}}}"#
                ),
                &["/linux/seccomp/defaultAction", "/linux/sysctl"],
            ),
            (
                &format!(r#"{{{FINE},"linux":{{"seccomp":"none"}},"mounts":[]}}"#),
                &["/linux/seccomp"],
            ),
            (
                &format!(
                    r#"{{{FINE},"hooks":{{"poststart":[{{"path":"/a"}},{{"timeout":"x"}},{{"path":"b"}}]}}}}"#
                ),
                &["/hooks/poststart/1/timeout", "/hooks/poststart/1"],
            ),
            ("{", &[""]),
            ("[]", &[""]),
            ("7", &[""]),
            (&format!(r#"{{{FINE},"process":{{}}}}"#), &[""]),
        ] {
            let mut found = pointers(text);
            found.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_first_is_the_one_that_create_tells() {
        for text in [
            r#"{"root":{"path":""},"process":{"args":[],"cwd":"x"},"ociVersion":"7"}"#,
            r#"{"root":{"path":7},"process":{"args":[1]}}"#,
            "nonsense",
        ] {
            let request = Request { id: "web", bundle: Path::new("/b"), ..Request::default() };
            let error = Plan::for_create(text.as_bytes(), &request, &Host::for_tests(), &layout())
                .expect_err(text);
            let review = Plan::review(text.as_bytes(), &request, &Host::for_tests(), &layout());
            let Some(Failure::BadConfig(first)) = error.downcast_ref() else { panic!("{error:#}") };
            assert_eq!(Some(first), review.problems.first(), "{text}");
        }
    }
}
