//! Loop devices: a file as a block device (loop(4)).

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Call, Named, check, fd};

/// A loop device with a file. The kernel detaches the file when the device has no user any more:
/// neither this descriptor nor a mount.
#[derive(Debug)]
pub struct LoopDevice {
    /// The path of its node.
    pub path: PathBuf,
    /// Keeps the file attached until the device is mounted.
    _node: OwnedFd,
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
#[derive(Default)]
struct LoopConfig {
    file: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
#[derive(Default)]
struct LoopInfo {
    device_to_size_limit: [u64; 5],
    number_to_key_size: [u32; 3],
    flags: u32,
    file_name: [u64; 8],
    crypt_name: [u64; 8],
    key_to_init: [u64; 6],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

/// The kernel detaches the file after the last user.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_READ_ONLY: u32 = 1;

/// How many devices are tried. Another process may take a free one before us.
const TRIES: u32 = 50;

impl LoopDevice {
    /// Attaches the file `path` to a free device.
    ///
    /// # Errors
    /// Errors of open(2), ioctl(2); `EBUSY` if other processes take every free device.
    pub fn attach(path: &Path, read_only: bool) -> Result<Self, Call> {
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let file = fd::open(path, access)?;
        let control = fd::open("/dev/loop-control".as_ref(), OFlags::RDWR)?;
        for _ in 0..TRIES {
            let device = PathBuf::from(format!("/dev/loop{}", free_number(&control)?));
            let node = fd::open(&device, access)?;
            match configure(&node, &file, read_only) {
                Err(Errno::BUSY) => {}
                result => {
                    result.named_on("ioctl(LOOP_CONFIGURE)", path)?;
                    return Ok(Self { path: device, _node: node });
                }
            }
        }
        Err(Errno::BUSY).named_on("ioctl(LOOP_CONFIGURE)", path)
    }
}

/// The number of a device without a file. It is made if there is none.
fn free_number(control: &OwnedFd) -> Result<i64, Call> {
    const LOOP_CTL_GET_FREE: u32 = 0x4c82;
    // SAFETY: the request has no argument.
    check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })
        .named(|| "ioctl(LOOP_CTL_GET_FREE)".to_owned())
}

fn configure(node: &OwnedFd, file: &OwnedFd, read_only: bool) -> Result<(), Errno> {
    const LOOP_CONFIGURE: u32 = 0x4c0a;
    let read_only = if read_only { LO_FLAGS_READ_ONLY } else { 0 };
    let info = LoopInfo { flags: LO_FLAGS_AUTOCLEAR | read_only, ..LoopInfo::default() };
    let file = file.as_raw_fd().unsigned_abs();
    let config = LoopConfig { file, info, ..LoopConfig::default() };
    // SAFETY: config is laid out as struct loop_config, which the kernel only reads.
    check(unsafe { libc::ioctl(node.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) })
        .map(|_| ())
}
