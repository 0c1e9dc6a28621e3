//! Support for the tests: images, trees to compare, the program under test, and other tools to
//! compare with.

pub mod front;
pub mod image;
pub mod layer;
pub mod machine;
pub mod program;
pub mod registry;
pub mod tls;
pub mod tree;

pub use image::{Image, Stored};
pub use layer::Layer;
pub use program::{judge, run};
pub use registry::{Kind, Registry};
pub use serde_json::json;

use std::path::PathBuf;

/// The directory of one test.
#[derive(Debug)]
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Unpacks `oci:layout` to `bundle`.
    #[track_caller]
    pub fn unpack(&self, more: &[&str]) -> program::Output {
        let source = format!("oci:{}", self.path("layout").display());
        let (bundle, orlop) = (self.path("bundle"), program::orlop());
        let mut args =
            vec!["unpack", &source, bundle.to_str().unwrap(), "--runtime", orlop.to_str().unwrap()];
        args.extend(more);
        run(args)
    }

    /// Writes the image and unpacks it. Returns the rootfs.
    #[track_caller]
    pub fn rootfs(&self, image: &Image) -> PathBuf {
        image.write(&self.path("layout"));
        self.unpack(&[]).ok();
        self.path("bundle/rootfs")
    }

    /// Writes the image. Unpacking must fail and leave nothing.
    #[track_caller]
    pub fn refused(&self, image: &Image) -> program::Output {
        image.write(&self.path("layout"));
        let output = self.unpack(&[]).refused();
        self.is_clean();
        output
    }

    /// The directory has only the layout.
    #[track_caller]
    pub fn is_clean(&self) {
        let names: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["layout"], "something was left behind");
    }
}
