//! Checks the hooks.
//! config.json: hooks.{prestart, createRuntime, createContainer}
//! config.json: hooks.{startContainer, poststart, poststop}
//! config.json: hooks.prestart[].{path, args, env, timeout}

use super::Problems;
use crate::config::Hook;
pub use crate::config::Hooks;

/// The six kinds of hooks, with the names of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    /// Before `createRuntime`; deprecated.
    Prestart,
    /// In the runtime's namespaces, before pivot_root.
    CreateRuntime,
    /// In the container's namespaces, before pivot_root.
    CreateContainer,
    /// In the container, before the program.
    StartContainer,
    /// After the program has been executed.
    Poststart,
    /// After the container has been deleted.
    Poststop,
}

impl HookPoint {
    /// Its name in config.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// Its hooks.
    #[must_use]
    pub fn of(self, hooks: &Hooks) -> &[Hook] {
        match self {
            Self::Prestart => &hooks.prestart,
            Self::CreateRuntime => &hooks.create_runtime,
            Self::CreateContainer => &hooks.create_container,
            Self::StartContainer => &hooks.start_container,
            Self::Poststart => &hooks.poststart,
            Self::Poststop => &hooks.poststop,
        }
    }
}

/// All kinds, in the order in which they run.
pub static HOOK_POINTS: [HookPoint; 6] = [
    HookPoint::Prestart,
    HookPoint::CreateRuntime,
    HookPoint::CreateContainer,
    HookPoint::StartContainer,
    HookPoint::Poststart,
    HookPoint::Poststop,
];

/// Checks the hooks. There is nothing to decide.
pub fn decide(hooks: &Hooks, problems: &mut Problems) {
    for point in HOOK_POINTS {
        for (index, hook) in point.of(hooks).iter().enumerate() {
            let key = format!("/hooks/{}/{index}", point.name());
            if !hook.path.starts_with('/') {
                problems.add(
                    format_args!("{key}/path"),
                    format!("hook path {:?} must be absolute", hook.path),
                );
            }
            if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                problems.add(format_args!("{key}/timeout"), "must be greater than zero");
            }
            if hook.args.iter().chain(hook.env.iter().flatten()).any(|text| text.contains('\0')) {
                problems.add(key, "must not contain NUL");
            }
        }
    }
}
