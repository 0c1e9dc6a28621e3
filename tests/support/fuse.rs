//! A filesystem that does not answer. The tests of the shim use this file too.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A mount of FUSE whose server does not answer.
#[derive(Debug)]
pub struct Fuse {
    at: PathBuf,
    device: Option<File>,
}

impl Fuse {
    /// Mounts it at a directory, which is made if it does not exist.
    pub fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("hung"), at, Some("fuse"), flags, Some(options.as_str())).unwrap();
        Fuse { at: at.to_owned(), device: Some(device) }
    }

    /// Takes the requests and answers the first only. No signal ends the wait for a request that
    /// was taken. The receiver gets a message for each of them.
    pub fn take_requests(&mut self) -> Receiver<()> {
        let device = self.device.as_mut().unwrap();
        let mut request = vec![0; 1 << 17];
        let length = device.read(&mut request).unwrap();
        assert!(length >= 40 && request[4..8] == 26_u32.to_ne_bytes(), "FUSE_INIT");
        // struct fuse_out_header and struct fuse_init_out, version 7.31.
        let mut answer = Vec::new();
        answer.extend((16_u32 + 64).to_ne_bytes());
        answer.extend(0_i32.to_ne_bytes());
        answer.extend(&request[8..16]);
        let numbers =
            [7_u32, 31, 1 << 16, 0, 12 | 9 << 16, 1 << 16, 1, 1 << 16, 0, 0, 0, 0, 0, 0, 0, 0];
        answer.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        device.write_all(&answer).unwrap();
        let mut device = device.try_clone().unwrap();
        let (sender, taken) = channel();
        std::thread::spawn(move || {
            while device.read(&mut request).is_ok() {
                let _ = sender.send(()); // the test may have ended
            }
        });
        taken
    }

    /// Ends the connection and removes the mount. All calls that wait for it fail.
    pub fn end(&mut self) {
        // By force, because others may have the device open.
        let _ = umount2(&self.at, MntFlags::MNT_FORCE);
        self.device = None;
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.end();
    }
}
