//! References to the location of an image, in the notation of skopeo and Podman.
//!
//! | form | meaning |
//! |---|---|
//! | `docker://host[:port]/name[:tag][@digest]` | a registry; default host Docker Hub, default tag `latest` |
//! | `oci:DIR[:tag][@digest]` | an OCI image layout |
//! | `oci-archive:FILE[:tag][@digest]` | a layout in a tar file |
//! | `docker-archive:FILE[:name:tag]` | an archive of `docker save` |

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use oci_spec::image::Digest;

use crate::digest;

/// The location of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `docker://…`
    Registry(RegistryReference),
    /// `oci:…`, `oci-archive:…` or `docker-archive:…`
    Path(PathReference),
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryReference {
    /// The host, with the port if there is one: the key of auth files.
    pub host: String,
    /// The repository on that host: `library/nginx`.
    pub repository: String,
    /// The tag, if one was given.
    pub tag: Option<String>,
    /// The digest, if one was given. It overrides the tag.
    pub digest: Option<Digest>,
}

/// The format of a directory or file that holds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFormat {
    /// `oci:`: an OCI image layout.
    Layout,
    /// `oci-archive:`: a layout in a tar file.
    OciArchive,
    /// `docker-archive:`: an archive of `docker save`.
    DockerArchive,
}

impl PathFormat {
    /// The prefix in a reference.
    fn prefix(self) -> &'static str {
        match self {
            Self::Layout => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
        }
    }
}

/// An image in a directory or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathReference {
    /// The format of the directory or file.
    pub format: PathFormat,
    /// The directory or file.
    pub path: PathBuf,
    /// The name of the image in it, if one was given: `org.opencontainers.image.ref.name`, or with
    /// `docker-archive:` a whole name such as `nginx:1.27`.
    pub tag: Option<String>,
    /// The digest of a manifest or index in it, if one was given. It overrides the tag.
    pub digest: Option<Digest>,
}

/// The name of Docker Hub in auth files and references. Its API is on another host.
pub const DOCKER_HUB: &str = "docker.io";

impl RegistryReference {
    /// The part of the manifest URL: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn selector(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag_or_latest(), |digest| digest.as_ref())
    }

    /// The tag, or `latest` if there is none.
    #[must_use]
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The same repository with another digest.
    #[must_use]
    pub fn at(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Parses the text after `docker://`.
    ///
    /// # Errors
    /// One sentence with the reason.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, digest) = split_digest(text)?;
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') && !name.is_empty() => (name, Some(tag)),
            _ => (rest, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first.to_owned(), rest.to_owned()),
            Some(_) => (DOCKER_HUB.to_owned(), name.to_owned()),
            None => (DOCKER_HUB.to_owned(), format!("library/{name}")),
        };
        let host = match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
            _ => host,
        };
        ensure!(
            host.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']')),
            "{host:?} is not the name of a host"
        );
        if let Some((_, port)) = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            ensure!(port.parse::<u16>().is_ok(), "{host:?}: {port:?} is not the number of a port");
        }
        ensure!(
            is_repository(&repository),
            "{repository:?} is not the name of a repository: parts of a-z, 0-9 and single \
             separators (. _ -), with / between"
        );
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        Ok(Self { host, repository, tag: tag.map(str::to_owned), digest })
    }
}

impl PathReference {
    /// Parses the text after `oci:`, `oci-archive:` or `docker-archive:`.
    fn parse(format: PathFormat, text: &str) -> Result<Self> {
        let (rest, digest) = split_digest(text)?;
        let (path, tag) =
            rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
        ensure!(!path.is_empty(), "there is no path");
        if let Some(tag) = tag {
            ensure!(
                is_ref_name(tag),
                "{tag:?} cannot be the name of an image: parts of letters, digits and single \
                 separators (- . _ : @ +)"
            );
        }
        Ok(Self { format, path: PathBuf::from(path), tag: tag.map(str::to_owned), digest })
    }
}

/// A reference to a location with tags: archives are excluded.
#[derive(Debug, Clone, Copy)]
pub enum TaggedReference<'a> {
    /// In a registry.
    Registry(&'a RegistryReference),
    /// In a layout.
    Layout(&'a PathReference),
}

impl Reference {
    /// Refuses references to archives. `purpose` completes the sentence "only docker:// and oci:
    /// …".
    ///
    /// # Errors
    /// It is a reference to an archive.
    pub fn tagged(&self, purpose: &str) -> Result<TaggedReference<'_>> {
        match self {
            Self::Registry(remote) => Ok(TaggedReference::Registry(remote)),
            Self::Path(local) if local.format == PathFormat::Layout => {
                Ok(TaggedReference::Layout(local))
            }
            Self::Path(_) => bail!("{self}: only docker:// and oci: {purpose}"),
        }
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let path = |format, rest| PathReference::parse(format, rest).map(Self::Path);
        let parsed = match text.split_once(':') {
            Some(("docker", rest)) => match rest.strip_prefix("//") {
                Some(rest) => RegistryReference::parse(rest).map(Self::Registry),
                None => bail!("reference {text:?}: write docker://host/name"),
            },
            Some(("oci", rest)) => path(PathFormat::Layout, rest),
            Some(("oci-archive", rest)) => path(PathFormat::OciArchive, rest),
            Some(("docker-archive", rest)) => path(PathFormat::DockerArchive, rest),
            _ => bail!(
                "reference {text:?}: it begins with none of docker://, oci:, oci-archive: and \
                 docker-archive:"
            ),
        };
        parsed.map_err(|error| anyhow::anyhow!("reference {text:?}: {error:#}"))
    }
}

impl Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(remote) => write!(f, "docker://{remote}"),
            Self::Path(local) => write!(f, "{}:{local}", local.format.prefix()),
        }
    }
}

impl Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        write_selector(f, self.tag.as_deref(), self.digest.as_ref())
    }
}

impl Display for PathReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        write_selector(f, self.tag.as_deref(), self.digest.as_ref())
    }
}

fn write_selector(
    f: &mut fmt::Formatter<'_>,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> fmt::Result {
    tag.map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
    digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
}

/// Splits `name@sha256:…`. Only a digest at the end is split off; any other `@` is a part of the
/// name.
fn split_digest(text: &str) -> Result<(&str, Option<Digest>)> {
    match text.rsplit_once('@') {
        Some((rest, digest)) if digest.contains(':') && !digest.contains('/') => {
            Ok((rest, Some(digest::parse(digest)?)))
        }
        _ => Ok((text, None)),
    }
}

/// Whether the first part of a name is a host: it has a dot or a port, or is `localhost`. This is
/// the rule of Docker.
fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, with `/` between (distribution-spec, "Pulling manifests").
fn is_repository(name: &str) -> bool {
    let part_is_good = |part: &str| {
        let alphanumeric = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let separators = part.split(|c| alphanumeric(&c)).filter(|separator| !separator.is_empty());
        let good = |separator: &str| {
            matches!(separator, "." | "_" | "__") || separator.chars().all(|c| c == '-')
        };
        part.starts_with(|c| alphanumeric(&c))
            && part.ends_with(|c| alphanumeric(&c))
            && separators.into_iter().all(good)
    };
    name.len() <= 255 && name.split('/').all(part_is_good)
}

/// Checks a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution-spec, "Pulling manifests").
///
/// # Errors
/// It is not one.
pub fn check_tag(tag: &str) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = tag.len() <= 128
        && tag.starts_with(word)
        && tag.chars().all(|c| word(c) || matches!(c, '.' | '-'));
    ensure!(
        good,
        "{tag:?} is not a tag: at most 128 letters, digits, and (not in the beginning) . and -"
    );
    Ok(())
}

/// The grammar of `org.opencontainers.image.ref.name` (image-spec, annotations.md).
fn is_ref_name(name: &str) -> bool {
    let component_is_good = |component: &str| {
        let mut separators =
            component.split(|c: char| c.is_ascii_alphanumeric()).filter(|text| !text.is_empty());
        component.starts_with(|c: char| c.is_ascii_alphanumeric())
            && component.ends_with(|c: char| c.is_ascii_alphanumeric())
            && separators.all(|text| matches!(text, "-" | "." | "_" | ":" | "@" | "+" | "--"))
    };
    name.split('/').all(component_is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn registries() {
        for (text, host, repository, tag, has_digest) in [
            ("nginx", "docker.io", "library/nginx", None, false),
            ("nginx:1.27", "docker.io", "library/nginx", Some("1.27"), false),
            ("bitnami/nginx", "docker.io", "bitnami/nginx", None, false),
            ("docker.io/library/nginx:x", "docker.io", "library/nginx", Some("x"), false),
            ("index.docker.io/library/nginx", "docker.io", "library/nginx", None, false),
            ("localhost/a", "localhost", "a", None, false),
            ("localhost:5000/a/b/c:t", "localhost:5000", "a/b/c", Some("t"), false),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", "a", None, false),
            ("[::1]:5000/a:b", "[::1]:5000", "a", Some("b"), false),
            ("[::1]/a", "[::1]", "a", None, false),
            ("quay.io/a/b-c__d.e@", "quay.io", "a/b-c__d.e", None, true),
            ("quay.io/a:t@", "quay.io", "a", Some("t"), true),
        ] {
            let digest = if has_digest { DIGEST } else { "" };
            let remote = RegistryReference::parse(&format!("{text}{digest}")).unwrap();
            assert_eq!(
                (
                    remote.host.as_str(),
                    remote.repository.as_str(),
                    remote.tag.as_deref(),
                    remote.digest.is_some()
                ),
                (host, repository, tag, has_digest),
                "{text}"
            );
        }
        assert_eq!(RegistryReference::parse("a").unwrap().selector(), "latest");
        assert_eq!(RegistryReference::parse(&format!("a:b@{DIGEST}")).unwrap().selector(), DIGEST);
    }

    #[test]
    fn files() {
        let path = |text: &str| match text.parse().unwrap() {
            Reference::Path(local) => local,
            Reference::Registry(remote) => panic!("{remote}"),
        };
        let local = path("oci:/tmp/x:a/b:1.2--3");
        assert_eq!(
            (local.path, local.tag.as_deref()),
            (PathBuf::from("/tmp/x"), Some("a/b:1.2--3"))
        );
        let local = path(&format!("oci:x@y@{DIGEST}"));
        assert_eq!(
            (local.path, local.tag, local.digest.is_some()),
            (PathBuf::from("x@y"), None, true)
        );
        let local = path("docker-archive:f.tar:nginx:1");
        assert_eq!((local.path, local.tag.as_deref()), (PathBuf::from("f.tar"), Some("nginx:1")));
        assert_eq!(path("oci-archive:f.tar").format, PathFormat::OciArchive);
    }

    #[test]
    fn written_as_read() {
        let with_digest = format!("docker://h:1/a:t@{DIGEST}");
        for text in [
            "docker://h.io/a:t",
            &with_digest,
            "oci:d",
            "oci:d:t",
            "oci-archive:f:t",
            "docker-archive:f",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_reference() {
        let long = format!("docker://h.io/{}", "a".repeat(256));
        let long_tag = format!("docker://h.io/a:{}", "a".repeat(129));
        for text in [
            "",
            "nginx",
            "nginx:latest",
            "docker:nginx",
            "docker://",
            "docker:///a",
            "docker://h.io/",
            "docker://h.io/A",
            "docker://h.io/a//b",
            "docker://h.io/a/../b",
            "docker://h.io/a..b",
            "docker://h.io/-a",
            "docker://h.io/a:",
            "docker://h.io/a:-b",
            "docker://h.io/a:b c",
            "docker://h.io:99999/a",
            "docker://h.io:/a",
            "docker://h.io/a@sha256:12",
            "docker://h.io/a@md5:ba7816bf8f01cfea414140de5dae2223",
            "docker://user:pw@h.io/a",
            "docker://h.io/a?x=y",
            &long,
            &long_tag,
            "oci:",
            "oci::tag",
            "oci:d:",
            "oci:d:a//b",
            "oci:d:a b",
            "oci:d:-a",
            "dir:/x",
            "docker-daemon:nginx:latest",
        ] {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.starts_with("reference "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
