//! What a mounted btrfs says about its devices: three read-only ioctls. Layouts: include/uapi/linux/btrfs.h of the kernel.

#![allow(
    unsafe_code,
    reason = "no safe crate wraps these ioctls; each fills one buffer of the size that its number states"
)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::model::hexadecimal;

/// A device of a file system.
pub(super) struct Device {
    /// The name behind `/dev/`.
    pub name: String,
    /// The device's own id.
    pub uuid: String,
    /// Bytes that are allocated.
    pub used: u64,
    /// Bytes in all.
    pub size: u64,
    /// Errors: write, read, flush, corruption, generation.
    pub errors: [u64; 5],
}

/// More devices than this are not asked for: their ids may have gaps.
const DEVICE_ID_MAX: u64 = 1024;

const FS_INFO: Request<1024> = Request { read_and_write: false, number: 31 };
const DEV_INFO: Request<4096> = Request { read_and_write: true, number: 30 };
const DEV_STATS: Request<1032> = Request { read_and_write: true, number: 52 };

/// The devices of the file system at `mount_point`; `None` if it is not the one with this id, or cannot be asked.
pub(super) fn read_devices(mount_point: &Path, file_system: &str) -> Option<Vec<Device>> {
    let folder = File::open(mount_point).ok()?;
    let facts = FS_INFO.ask(&folder, &[])?;
    let (id_max, count) = (number(&facts, 0), number(&facts, 8));
    if uuid(facts.get(16..32)?) != file_system {
        return None;
    }
    let mut devices = Vec::new();
    for id in 0..=id_max.min(DEVICE_ID_MAX) {
        // An id that nobody has.
        let Some(facts) = DEV_INFO.ask(&folder, &id.to_ne_bytes()) else { continue };
        let path = facts.get(3072..)?.split(|byte| *byte == 0).next()?;
        let name = String::from_utf8_lossy(path.rsplit(|byte| *byte == b'/').next()?).into_owned();
        // Five numbers are wanted, and nothing is reset.
        let wanted = [id.to_ne_bytes(), 5_u64.to_ne_bytes()].concat();
        let statistics = DEV_STATS.ask(&folder, &wanted)?;
        devices.push(Device {
            name,
            uuid: uuid(facts.get(8..24)?),
            used: number(&facts, 24),
            size: number(&facts, 32),
            errors: [24, 32, 40, 48, 56].map(|at| number(&statistics, at)),
        });
        if devices.len() as u64 == count {
            break;
        }
    }
    Some(devices)
}

/// An ioctl of btrfs whose argument has `N` bytes.
struct Request<const N: usize> {
    read_and_write: bool,
    number: u32,
}

impl<const N: usize> Request<N> {
    fn ask(&self, folder: &File, question: &[u8]) -> Option<Vec<u8>> {
        let mut argument = vec![0_u64; N.div_ceil(8)];
        for (word, bytes) in argument.iter_mut().zip(question.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().ok()?);
        }
        // _IOR and _IOWR of asm-generic/ioctl.h: direction, size, type, number.
        let direction = if self.read_and_write { 3_u32 } else { 2 };
        let request = (direction << 30) | ((N as u32) << 16) | (0x94 << 8) | self.number;
        // SAFETY: the kernel writes at most the size in the number, which is the buffer's; it keeps no pointer.
        let answer = unsafe { libc::ioctl(folder.as_raw_fd(), request as _, argument.as_mut_ptr()) };
        (answer == 0).then(|| argument.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = hexadecimal(bytes);
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}
