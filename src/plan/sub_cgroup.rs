//! `exec --cgroup`: a cgroup below the container's.

use std::path::{Component, Path, PathBuf};

use crate::error::{Failure, Result};
use crate::kernel::CgroupPaths;

/// Decides the directories that a process of `exec` joins: those of the container (`paths`, as in
/// state.json), or for each `[CONTROLLER[,CONTROLLER]:]PATH` the directory below. On cgroup v1 a
/// PATH alone applies to all hierarchies. Without a flag, the process joins the cgroup `delegated`
/// below those of the container, if there is one.
///
/// # Errors
/// [`Failure::Usage`] with runc's texts.
pub fn decide(
    flags: &[String],
    paths: &CgroupPaths,
    delegated: Option<&str>,
) -> Result<CgroupPaths> {
    let mut paths = paths.clone();
    if let (Some(sub), true) = (delegated, flags.is_empty()) {
        for path in paths.paths_mut() {
            *path = below(path, sub)?;
        }
    }
    let mut given: Vec<(&str, &str)> = Vec::new();
    for flag in flags {
        let Some((controllers, sub)) = flag.split_once(':') else {
            if flags.len() != 1 {
                return Err(usage(format!(
                    "invalid --cgroup argument: {flag} (missing <controller>: prefix)"
                )));
            }
            for path in paths.paths_mut() {
                *path = below(path, flag)?;
            }
            return Ok(paths);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(usage(format!(
                    "invalid --cgroup argument: {flag} (empty <controller> prefix)"
                )));
            }
            if given.iter().any(|(other, _)| *other == controller) {
                let text = format!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                );
                return Err(usage(text));
            }
            given.push((controller, sub));
        }
    }
    for (controller, sub) in given {
        let unknown = || usage(format!("unknown controller {controller} in --cgroup"));
        let path = paths.of_controller_mut(controller).ok_or_else(unknown)?;
        *path = below(path, sub)?;
    }
    Ok(paths)
}

/// A path is relative to the container's cgroup, even if it begins with a slash, and may not lead
/// out of it.
fn below(base: &Path, sub: &str) -> Result<PathBuf> {
    let mut path = base.to_owned();
    let mut depth = 0_usize;
    let bad = || usage(format!("bad sub cgroup path: {sub}"));
    for component in Path::new(sub).components() {
        match component {
            Component::Normal(name) => {
                path.push(name);
                depth += 1;
            }
            Component::ParentDir => {
                depth = depth.checked_sub(1).ok_or_else(bad)?;
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if sub.contains('\0') {
        return Err(bad());
    }
    Ok(path)
}

fn usage(text: String) -> anyhow::Error {
    Failure::Usage(text).into()
}

#[cfg(test)]
mod tests {
    use super::{CgroupPaths, decide};
    use crate::kernel::HierarchyName;

    fn on(paths: &[(&str, &str)], flags: &[&str]) -> Result<Vec<String>, String> {
        let paths: CgroupPaths = paths
            .iter()
            .map(|(name, path)| (HierarchyName::from((*name).to_owned()), path.into()))
            .collect();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let decided = decide(&flags, &paths, None).map_err(|error| error.to_string())?;
        Ok(decided.iter().map(|(_, path)| path.display().to_string()).collect())
    }

    #[test]
    fn a_path_counts_from_the_containers_cgroup() {
        let v2 = [("", "/sys/fs/cgroup/web")];
        for (flags, expected) in [
            (&[][..], "/sys/fs/cgroup/web"),
            (&["/"], "/sys/fs/cgroup/web"),
            (&["sub"], "/sys/fs/cgroup/web/sub"),
            (&["/sub/./x/"], "/sys/fs/cgroup/web/sub/x"),
            (&["a/../b"], "/sys/fs/cgroup/web/b"),
        ] {
            assert_eq!(on(&v2, flags), Ok(vec![expected.to_owned()]), "{flags:?}");
        }
        let v1 = [("cpu", "/c/web"), ("cpuacct", "/c/web"), ("memory", "/m/web")];
        let expected = ["/c/web/x", "/c/web/x", "/m/web/y"].map(str::to_owned);
        assert_eq!(on(&v1, &["cpu,cpuacct:x", "memory:y"]), Ok(expected.to_vec()));
    }

    #[test]
    fn what_leads_out_or_is_not_there_is_refused() {
        let paths = [("cpu", "/c/web"), ("memory", "/m/web")];
        for (flags, text) in [
            (&[".."][..], "bad sub cgroup path: .."),
            (&["a/../../web2"], "bad sub cgroup path: a/../../web2"),
            (&["cpu:../web"], "bad sub cgroup path: ../web"),
            (&["moon:x"], "unknown controller moon in --cgroup"),
            (&[":x"], "invalid --cgroup argument: :x (empty <controller> prefix)"),
            (&["cpu:x", "y"], "invalid --cgroup argument: y (missing <controller>: prefix)"),
            (
                &["cpu:x", "cpu:y"],
                "invalid --cgroup argument(s): controller cpu specified multiple times",
            ),
        ] {
            assert_eq!(on(&paths, flags), Err(text.to_owned()), "{flags:?}");
        }
    }
}
