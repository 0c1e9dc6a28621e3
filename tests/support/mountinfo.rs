//! Parses `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

/// One mount.
#[derive(Debug, Clone)]
pub struct Mount {
    pub root: String,
    pub target: String,
    /// The options of this mount: `rw`, `nosuid`, …
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, `unbindable`; empty if private.
    pub propagation: Vec<String>,
    pub kind: String,
    pub source: String,
    /// The options of the filesystem: `rw`, `size=64k`, …
    pub data: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Self {
        let (mount, filesystem) = line.split_once(" - ").unwrap();
        let mount: Vec<&str> = mount.split(' ').collect();
        let filesystem: Vec<&str> = filesystem.split(' ').collect();
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Mount {
            root: mount[3].to_owned(),
            target: mount[4].to_owned(),
            options: list(mount[5]),
            propagation: mount[6..].iter().map(|field| (*field).to_owned()).collect(),
            kind: filesystem[0].to_owned(),
            source: filesystem[1].to_owned(),
            data: list(filesystem[2]),
        }
    }

    pub fn has(&self, option: &str) -> bool {
        self.options.iter().chain(&self.data).any(|have| have == option)
    }

    /// Whether `shared`, `master` or `unbindable` is set.
    pub fn propagates(&self, how: &str) -> bool {
        self.propagation.iter().any(|field| field.starts_with(how))
    }
}

/// All mounts in the text of a mountinfo file.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().map(Mount::parse).collect()
}

/// The topmost mount on `target`.
#[track_caller]
pub fn at(text: &str, target: &str) -> Mount {
    let found = parse(text).into_iter().rfind(|mount| mount.target == target);
    found.unwrap_or_else(|| panic!("nothing is mounted on {target} in:\n{text}"))
}
